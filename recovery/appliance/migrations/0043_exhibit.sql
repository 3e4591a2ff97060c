-- What recoveries keep of old systems. Times in milliseconds since 1970. The bytes lie beside the database.
CREATE TABLE exhibit (
    job              TEXT PRIMARY KEY,
    endpoint         TEXT NOT NULL,
    state            TEXT NOT NULL,            -- ordered, kept, nothing, deleted
    ordered          BIGINT NOT NULL,
    record           TEXT NOT NULL             -- JSON
);
CREATE INDEX exhibit_by_ordered ON exhibit (ordered);
