-- The part of a person's token that is no secret: by it a token that was lost is found. None for one that was made before.
ALTER TABLE person ADD COLUMN token_id TEXT;
