-- JSON: who came with an endpoint's address and is another one, until a person resolved it, and whom a person dismissed.
ALTER TABLE endpoint ADD COLUMN conflict TEXT;
