-- What people and systems are to be told: an entry of the evidence log for a channel, until it took it.
CREATE TABLE notice (
    channel     TEXT NOT NULL,
    seq         BIGINT NOT NULL,             -- the entry
    event       TEXT NOT NULL,
    at          BIGINT NOT NULL,             -- when it happened
    due         BIGINT NOT NULL,             -- not before
    tries       BIGINT NOT NULL,
    PRIMARY KEY (channel, seq)
);

-- How it stands with each channel. What happened before it was there is not told.
CREATE TABLE notice_channel (
    channel     TEXT PRIMARY KEY,
    since       BIGINT NOT NULL,
    delivered   BIGINT,
    failed      BIGINT,
    failure     TEXT NOT NULL,
    sent        BIGINT NOT NULL,
    failures    BIGINT NOT NULL
);

-- When something happened last that must happen again and again (backup, drill), and when somebody was told that it did not.
CREATE TABLE mark (
    what        TEXT PRIMARY KEY,
    at          BIGINT NOT NULL
);
