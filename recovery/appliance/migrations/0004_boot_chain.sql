-- Which chain of loaders worked on which endpoint, and when it failed since (JSON: milliseconds since 1970).
CREATE TABLE boot_chain (
    endpoint    TEXT NOT NULL,
    chain       TEXT NOT NULL,
    worked      BIGINT,
    failed      TEXT NOT NULL,
    PRIMARY KEY (endpoint, chain)
);
