-- What an endpoint looks like, for whoever stands before it.
CREATE TABLE endpoint_photo (
    endpoint    TEXT PRIMARY KEY,
    media_type  TEXT NOT NULL,
    sha256      TEXT NOT NULL,
    photo       BLOB NOT NULL,
    set_at      BIGINT NOT NULL,
    set_by      TEXT NOT NULL
);
-- What a person said of a recovered endpoint: 1 its screen shows live values, 0 it does not; NULL: nobody was asked, or answered.
ALTER TABLE job ADD COLUMN accepted BIGINT;
