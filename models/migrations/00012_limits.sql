-- +goose Up
-- How far a key has used up its rate: it is full again at that time (GCRA). What
-- a crash loses of it nobody misses, so it is not written ahead.
CREATE UNLOGGED TABLE rate_limits (
    key     text PRIMARY KEY,
    full_at timestamptz NOT NULL,
    -- What the last call took.
    granted int NOT NULL
);
CREATE INDEX rate_limits_by_time ON rate_limits (full_at);

-- +goose Down
DROP TABLE rate_limits;
