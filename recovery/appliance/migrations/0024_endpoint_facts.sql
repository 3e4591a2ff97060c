-- JSON: what an endpoint is made of, fact by fact, with who told it and when. What nobody told is no fact.
ALTER TABLE endpoint ADD COLUMN facts TEXT;
