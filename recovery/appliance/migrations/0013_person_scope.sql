-- About whom a person may order something (a selector), and from where their token counts (networks, comma between).
ALTER TABLE person ADD COLUMN scope TEXT;
ALTER TABLE person ADD COLUMN networks TEXT NOT NULL DEFAULT '';
