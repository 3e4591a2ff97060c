-- In which order the embedded control plane's word on endpoints changed, written with the change: clocks go back. It begins with the times
-- that were asked for until now.
ALTER TABLE plane ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
UPDATE plane SET sequence = changed;
CREATE INDEX plane_sequence ON plane (sequence);
-- By which name that control plane knows the endpoint, which may be off record by then.
ALTER TABLE plane_queue ADD COLUMN known_as TEXT;
