-- Until when somebody counts of whom the site's directory or OpenID provider says who they are: some hours after it said so last.
ALTER TABLE person ADD COLUMN believed_until BIGINT;
