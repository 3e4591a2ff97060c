-- Columns are BIGINT (milliseconds since 1970, counts, 0/1), TEXT (ids, JSON) and BLOB, so that the same text runs on
-- PostgreSQL. Secrets are kept as SHA-256 only.

CREATE TABLE endpoint (
    id          TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    record      TEXT NOT NULL,               -- JSON: what a person put on record
    inventory   TEXT,                        -- JSON: what it said of itself last
    ek_sha256   TEXT UNIQUE,                 -- pinned endorsement key
    baseline    TEXT,                        -- JSON: firmware measurements on record
    pairing     TEXT,                        -- JSON: the code it shows, while a person must confirm it
    refusal     TEXT,                        -- the last refusal it met, one sentence
    seen        BIGINT,
    proven      BIGINT,
    generation  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE endpoint_mac (
    mac         TEXT PRIMARY KEY,
    endpoint    TEXT NOT NULL REFERENCES endpoint (id)
);

CREATE TABLE job (
    id          TEXT PRIMARY KEY,
    endpoint    TEXT NOT NULL,
    group_name  TEXT NOT NULL,
    open        BIGINT NOT NULL,
    state       TEXT NOT NULL,               -- working, held, recovered, cancelled, failed
    trigger     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    automatic   BIGINT NOT NULL,             -- a confirmed integrity failure asked for it
    image_name  TEXT NOT NULL,
    asked       BIGINT NOT NULL,
    ended       BIGINT,
    machine     TEXT NOT NULL                -- JSON: the job as the machine knows it
);
CREATE UNIQUE INDEX job_open ON job (endpoint) WHERE open = 1;
CREATE INDEX job_by_group ON job (group_name, asked);

CREATE TABLE phase (
    job         TEXT NOT NULL REFERENCES job (id),
    n           BIGINT NOT NULL,
    stage       TEXT NOT NULL,
    entered     BIGINT NOT NULL,
    ended       BIGINT,
    PRIMARY KEY (job, n)
);

CREATE TABLE journal (
    job         TEXT NOT NULL REFERENCES job (id),
    intent      BIGINT NOT NULL,
    duty        TEXT NOT NULL,
    due         BIGINT NOT NULL,
    outcome     TEXT,                        -- JSON; NULL: not known, probe before acting
    ended       BIGINT,
    PRIMARY KEY (job, intent)
);
CREATE INDEX journal_open ON journal (due) WHERE ended IS NULL;

CREATE TABLE boot_ticket (
    job         TEXT PRIMARY KEY REFERENCES job (id),
    endpoint    TEXT NOT NULL,
    issued      BIGINT NOT NULL,
    expires     BIGINT NOT NULL,
    voided      BIGINT
);

CREATE TABLE enrolment_ticket (
    job         TEXT PRIMARY KEY REFERENCES job (id),
    secret_hash TEXT NOT NULL UNIQUE,
    issued      BIGINT NOT NULL,
    ek_sha256   TEXT,                        -- bound at its first accepted use
    key_sha256  TEXT,                        -- the certified TLS key (SPKI), bound with it
    voided      BIGINT
);

CREATE TABLE est_secret (
    job         TEXT PRIMARY KEY REFERENCES job (id),
    endpoint    TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    key_sha256  TEXT NOT NULL,               -- only this key (SPKI) may be enrolled
    expires     BIGINT NOT NULL,
    spent       BIGINT,
    voided      BIGINT
);

CREATE TABLE session (
    hash        TEXT PRIMARY KEY,
    endpoint    TEXT NOT NULL,
    job         TEXT,
    created     BIGINT NOT NULL,
    record      TEXT NOT NULL                -- JSON: challenge, keys, what was accepted
);
CREATE INDEX session_by_endpoint ON session (endpoint);

CREATE TABLE trigger_seen (
    source      TEXT NOT NULL,
    delivery    TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    class       TEXT NOT NULL,
    confirmed   BIGINT NOT NULL,
    received    BIGINT NOT NULL,
    raw         BLOB NOT NULL,
    outcome     TEXT NOT NULL,               -- JSON
    PRIMARY KEY (source, delivery)
);
CREATE INDEX trigger_by_time ON trigger_seen (received);

CREATE TABLE certificate (
    serial      TEXT PRIMARY KEY,
    endpoint    TEXT NOT NULL,
    job         TEXT NOT NULL REFERENCES job (id),
    key_sha256  TEXT NOT NULL,
    der         BLOB NOT NULL,
    issued      BIGINT NOT NULL,
    revoked     BIGINT
);
CREATE INDEX certificate_by_job ON certificate (job);

CREATE TABLE plane (
    endpoint    TEXT PRIMARY KEY,
    generation  BIGINT NOT NULL,
    trusted     BIGINT NOT NULL,
    record      TEXT NOT NULL                -- JSON: what the embedded control plane knows of it
);

CREATE TABLE evidence (
    seq         BIGINT PRIMARY KEY,
    job         TEXT,
    text        TEXT NOT NULL,               -- the exact bytes that were hashed
    hash        TEXT NOT NULL
);
CREATE INDEX evidence_by_job ON evidence (job);

CREATE TABLE evidence_checkpoint (
    seq         BIGINT PRIMARY KEY,
    hash        TEXT NOT NULL,
    signature   TEXT NOT NULL
);

CREATE TABLE lease (
    address     TEXT PRIMARY KEY,
    mac         TEXT NOT NULL,
    until       BIGINT NOT NULL
);
