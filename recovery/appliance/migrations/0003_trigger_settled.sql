-- Milliseconds since 1970: the source was asked back and its word, or its silence, is in evidence. NULL: still to be asked.
ALTER TABLE trigger_seen ADD COLUMN settled BIGINT;
-- What was received before stays as it ended.
UPDATE trigger_seen SET settled = received;
CREATE INDEX trigger_unsettled ON trigger_seen (received) WHERE settled IS NULL AND class = 'integrity' AND confirmed = 0;
