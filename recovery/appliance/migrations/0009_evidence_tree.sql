-- The Merkle tree over the evidence log. Entries that earlier versions chained keep text and hash; since then `hash` is
-- empty, and `nodes` holds the hashes that the entry completes: its leaf's, and those of the perfect subtrees that end there.

ALTER TABLE evidence ADD COLUMN nodes BLOB;
CREATE INDEX evidence_without_nodes ON evidence (seq) WHERE nodes IS NULL;

CREATE TABLE tree_checkpoint (
    size        BIGINT PRIMARY KEY,
    note        TEXT NOT NULL                -- a signed note, as it is handed out
);
