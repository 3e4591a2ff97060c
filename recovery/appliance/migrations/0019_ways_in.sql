-- The client certificate that is pinned on a program: DER, base64.
ALTER TABLE person ADD COLUMN client_certificate TEXT;
-- A technician's badge (SHA-256 of its number, lower-case hex), the PIN that belongs to it (Argon2id's PHC text), and wrong ones in a row.
ALTER TABLE person ADD COLUMN badge_sha256 TEXT;
ALTER TABLE person ADD COLUMN pin TEXT;
ALTER TABLE person ADD COLUMN pin_wrong BIGINT NOT NULL DEFAULT 0;
-- Tablets at which a badge counts. Of a kiosk's secret the hash lies here.
CREATE TABLE kiosk (
    name           TEXT PRIMARY KEY,
    secret_sha256  TEXT NOT NULL,      -- lower-case hex
    paired         BIGINT NOT NULL,
    paired_by      TEXT NOT NULL,
    ended          BIGINT
);
