-- Who changed an endpoint's record, and when: whoever edited what a job is about does not approve it.
CREATE TABLE endpoint_edit (
    endpoint  TEXT NOT NULL,
    at        BIGINT NOT NULL,   -- milliseconds since 1970
    edited_by TEXT NOT NULL,     -- as in evidence
    class_before BIGINT NOT NULL -- safety class that counted until then
);
CREATE INDEX endpoint_edit_of ON endpoint_edit (endpoint, at);
