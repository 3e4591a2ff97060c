-- A message is kept once, however many things it says; `trigger_seen.raw` stays empty from here on.
CREATE TABLE trigger_raw (
    source      TEXT NOT NULL,
    sha256      TEXT NOT NULL,               -- of the message, lower-case hex
    received    BIGINT NOT NULL,
    raw         BLOB NOT NULL,
    PRIMARY KEY (source, sha256)
);
CREATE INDEX trigger_raw_by_time ON trigger_raw (source, received);

ALTER TABLE trigger_seen ADD COLUMN raw_sha256 TEXT NOT NULL DEFAULT '';
ALTER TABLE trigger_seen ADD COLUMN reason TEXT NOT NULL DEFAULT '';
-- How the source calls the endpoint: under this name it is asked back.
ALTER TABLE trigger_seen ADD COLUMN named TEXT NOT NULL DEFAULT '';
CREATE INDEX trigger_by_source ON trigger_seen (source, received);

-- What a verifier reports by webhook and by being asked is one incident until it passes again.
CREATE TABLE trigger_incident (
    source      TEXT NOT NULL,
    named       TEXT NOT NULL,
    opened      BIGINT NOT NULL,
    PRIMARY KEY (source, named)
);

-- The list of 5,000 endpoints asks for the newest job and the certificate of each.
CREATE INDEX job_by_endpoint ON job (endpoint, asked);
CREATE INDEX certificate_by_endpoint ON certificate (endpoint, issued);
