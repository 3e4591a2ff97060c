-- Who follows the evidence log: how far they have it, and what they refused for good.

CREATE TABLE forward_cursor (
    sink        TEXT PRIMARY KEY,
    seq         BIGINT NOT NULL,             -- they have everything up to this entry
    moved       BIGINT NOT NULL
);

CREATE TABLE dead_letter (
    sink        TEXT NOT NULL,
    seq         BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    why         TEXT NOT NULL,
    PRIMARY KEY (sink, seq)
);
