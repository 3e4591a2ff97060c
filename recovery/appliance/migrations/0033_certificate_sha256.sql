-- Certificates are told apart by the SHA-256 of their DER: serial numbers repeat between authorities. The second one of a number has the
-- key `number.sha256`; those of before have no sha256 and are compared whole.
ALTER TABLE certificate ADD COLUMN sha256 TEXT;
CREATE UNIQUE INDEX certificate_sha256 ON certificate (sha256);
-- The request by which a certificate is asked for, until it is answered.
CREATE TABLE est_request (
    job         TEXT NOT NULL REFERENCES job (id),
    key_sha256  TEXT NOT NULL,
    csr         BLOB NOT NULL,
    asked       BIGINT NOT NULL,
    PRIMARY KEY (job, key_sha256)
);
