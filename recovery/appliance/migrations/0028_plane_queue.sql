-- When the embedded control plane's word on an endpoint changed last, milliseconds since 1970.
ALTER TABLE plane ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;
-- What a control plane of the fleet has not taken yet.
CREATE TABLE plane_queue (
    plane         TEXT NOT NULL,      -- its name in the configuration
    endpoint      TEXT NOT NULL,
    generation    BIGINT NOT NULL,
    step          TEXT NOT NULL,      -- reset, register, lift
    place         BIGINT NOT NULL,    -- the step's, in order
    registration  TEXT,               -- JSON, of register
    since         BIGINT NOT NULL,    -- milliseconds since 1970
    PRIMARY KEY (plane, endpoint, generation, step)
);
