-- Which appliance writes. The number grows with each that takes over: whoever holds an older one is fenced.
CREATE TABLE reign (
    one         BIGINT PRIMARY KEY,          -- 1: there is one row
    term        BIGINT NOT NULL,
    holder      TEXT NOT NULL,               -- an appliance's own id; empty: nobody yet
    since       BIGINT NOT NULL              -- milliseconds since 1970
);
INSERT INTO reign (one, term, holder, since) VALUES (1, 0, '', 0);
