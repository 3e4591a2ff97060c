-- Who says who a person is: `here`, or `directory`.
ALTER TABLE person ADD COLUMN origin TEXT NOT NULL DEFAULT 'here';
