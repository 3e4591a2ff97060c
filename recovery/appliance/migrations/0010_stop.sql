-- STOP for the whole site. At most one row has no `released`. Times in milliseconds since 1970.
CREATE TABLE stop (
    pressed          BIGINT NOT NULL,
    pressed_by       TEXT NOT NULL,            -- as in evidence
    reason           TEXT NOT NULL,
    jobs_held        BIGINT NOT NULL,
    first_by         TEXT,                     -- the first of two releases
    first_reason     TEXT,
    first_at         BIGINT,
    released         BIGINT
);
CREATE UNIQUE INDEX stop_standing ON stop ((1)) WHERE released IS NULL;
