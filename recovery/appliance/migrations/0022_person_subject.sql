-- Whom an OpenID provider means: the provider, and its own word for them.
ALTER TABLE person ADD COLUMN subject TEXT;
CREATE UNIQUE INDEX person_subject ON person (subject);
