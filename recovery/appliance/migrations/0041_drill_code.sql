-- Codes on the screens of hardware that is to be written in a drill. Times in milliseconds since 1970.
CREATE TABLE drill_code (
    job              TEXT PRIMARY KEY,
    code             TEXT NOT NULL,            -- four digits
    shown            BIGINT NOT NULL,
    wrong            BIGINT NOT NULL,          -- tries
    matched          BIGINT,
    matched_by       TEXT                      -- as in evidence
);
