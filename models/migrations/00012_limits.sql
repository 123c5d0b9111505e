-- +goose Up
-- Limits and what is used of them. Build time is charged when a deployment ends.
ALTER TABLE organizations
    ADD COLUMN build_minutes_limit bigint NOT NULL DEFAULT 3000 CHECK (build_minutes_limit >= 0),
    ADD COLUMN build_seconds_used bigint NOT NULL DEFAULT 0 CHECK (build_seconds_used >= 0),
    ADD COLUMN projects_limit bigint NOT NULL DEFAULT 500 CHECK (projects_limit >= 0),
    ADD COLUMN domains_limit bigint NOT NULL DEFAULT 500 CHECK (domains_limit >= 0),
    ADD COLUMN storage_limit bigint NOT NULL DEFAULT 53687091200 CHECK (storage_limit >= 0),
    ALTER COLUMN period_start SET DEFAULT date_trunc('month', now(), 'UTC'),
    ALTER COLUMN period_end SET DEFAULT date_trunc('month', now(), 'UTC') + interval '1 month';

ALTER TABLE quota_reservations
    ADD COLUMN sandbox_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN build_ms bigint NOT NULL DEFAULT 0;

-- What is counted each time something is added.
CREATE INDEX domains_by_organization ON domains (organization_id);
CREATE INDEX releases_by_output ON releases (organization_id, (coalesce(nullif(output_digest, ''), id))) INCLUDE (bytes);

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
DROP INDEX releases_by_output, domains_by_organization;
ALTER TABLE quota_reservations DROP COLUMN sandbox_ms, DROP COLUMN build_ms;
ALTER TABLE organizations DROP COLUMN build_minutes_limit, DROP COLUMN build_seconds_used, DROP COLUMN projects_limit,
    DROP COLUMN domains_limit, DROP COLUMN storage_limit;
