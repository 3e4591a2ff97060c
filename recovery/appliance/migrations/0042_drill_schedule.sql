-- When runbooks are rehearsed, and what is still to be mended after a drill. Times in milliseconds since 1970.
CREATE TABLE drill_schedule (
    name             TEXT PRIMARY KEY,
    schedule         TEXT NOT NULL,            -- JSON
    added            BIGINT NOT NULL,
    added_by         TEXT NOT NULL,            -- as in evidence
    began            BIGINT,                   -- when it last began by itself
    noticed          BIGINT                    -- when it was last said that it is due
);
CREATE TABLE drill_action (
    id               TEXT PRIMARY KEY,
    runbook          TEXT NOT NULL,
    class            TEXT NOT NULL,            -- hardware class, and whether virtual
    subject          TEXT NOT NULL,            -- a step or an objective
    what             TEXT NOT NULL,
    drill            TEXT NOT NULL,            -- which opened it
    opened           BIGINT NOT NULL,
    due              BIGINT NOT NULL,
    closed           BIGINT,
    closed_by        TEXT                      -- the drill that closed it
);
CREATE UNIQUE INDEX drill_action_open ON drill_action (runbook, class, subject) WHERE closed IS NULL;
