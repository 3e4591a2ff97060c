-- JSON: how old the chain is by which an endpoint boots, as its last accepted quote showed it.
ALTER TABLE endpoint ADD COLUMN boot_age TEXT;
