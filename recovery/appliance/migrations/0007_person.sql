-- Who may in. Nobody is deleted: the name stands in evidence. Of a token only the hash lies here.
CREATE TABLE person (
    name          TEXT PRIMARY KEY,
    role          TEXT NOT NULL,              -- as in JSON
    disabled      BIGINT NOT NULL DEFAULT 0,  -- 0 or 1
    added         BIGINT NOT NULL,
    token_sha256  TEXT NOT NULL UNIQUE,       -- lower-case hex
    token_made    BIGINT NOT NULL,
    token_ends    BIGINT,
    used          BIGINT
);
