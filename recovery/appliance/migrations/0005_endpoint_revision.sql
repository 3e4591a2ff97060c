-- Which version of an endpoint's record this is, and since when it is on the list.
ALTER TABLE endpoint ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE endpoint ADD COLUMN added BIGINT NOT NULL DEFAULT 0;
-- Endpoints that were removed, as they were then: a name may be given to another.
CREATE TABLE endpoint_removed (
    id          TEXT NOT NULL,
    removed     BIGINT NOT NULL,
    removed_by  TEXT NOT NULL,
    record      TEXT NOT NULL,               -- JSON: what a person had put on record
    ek_sha256   TEXT,
    generation  BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    added       BIGINT NOT NULL,
    PRIMARY KEY (id, removed)
);
