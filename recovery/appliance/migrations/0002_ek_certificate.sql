-- JSON: what the maker's certificate of the pinned endorsement key told.
ALTER TABLE endpoint ADD COLUMN ek_certificate TEXT;
