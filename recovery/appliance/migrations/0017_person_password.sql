-- A person's password, as Argon2id's PHC text (parameters, salt, hash); NULL: they have none.
ALTER TABLE person ADD COLUMN password TEXT;
ALTER TABLE person ADD COLUMN password_set BIGINT;
