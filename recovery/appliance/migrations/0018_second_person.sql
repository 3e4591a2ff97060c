-- What another person says afterwards, and what two say beforehand.
-- Where somebody broke the glass, and what another person says of it within a day.
CREATE TABLE review (
    job          TEXT PRIMARY KEY,
    endpoint     TEXT NOT NULL,
    broke        TEXT NOT NULL,              -- who, as in evidence
    reason       TEXT NOT NULL,
    at           BIGINT NOT NULL,
    due          BIGINT NOT NULL,
    told         BIGINT NOT NULL DEFAULT 0,  -- 1: it was told that nobody looked at it in time
    reviewed     BIGINT,
    reviewed_by  TEXT,
    justified    BIGINT,                     -- 0 or 1
    note         TEXT
);
-- Standing plans: approvals that two people give beforehand. A plan is what its hash says; only approvals and its end are added.
CREATE TABLE plan (
    hash       TEXT PRIMARY KEY,
    body       TEXT NOT NULL,   -- JSON: what was asked for, the image, each endpoint with what counts of it
    made_by    TEXT NOT NULL,
    made       BIGINT NOT NULL,
    ends       BIGINT NOT NULL,
    approvals  TEXT NOT NULL,   -- JSON
    over_at    BIGINT,
    over_why   TEXT
);
CREATE TABLE plan_use (
    job   TEXT PRIMARY KEY,
    plan  TEXT NOT NULL,
    at    BIGINT NOT NULL
);
CREATE INDEX plan_use_plan ON plan_use (plan, at);
