-- +goose Up
-- A release may have server code, and carries the variables it runs with.
ALTER TABLE releases
    ADD COLUMN source_digest text NOT NULL DEFAULT '',
    ADD COLUMN output_digest text NOT NULL DEFAULT '',
    ADD COLUMN worker_digest text NOT NULL DEFAULT '',
    ADD COLUMN environment   bytea,
    -- When it was seen to answer. Until then nobody is sent to it.
    ADD COLUMN checked_at    timestamptz;
UPDATE releases SET checked_at = created_at,
    source_digest = (SELECT source_digest FROM deployments WHERE deployments.id = releases.deployment_id);

-- During a rollout a second release answers a part of the visitors.
ALTER TABLE routes
    ADD COLUMN worker_digest          text NOT NULL DEFAULT '',
    ADD COLUMN canary_release_id      text NOT NULL DEFAULT '',
    ADD COLUMN canary_manifest_digest text NOT NULL DEFAULT '',
    ADD COLUMN canary_worker_digest   text NOT NULL DEFAULT '',
    ADD COLUMN canary_percent         int NOT NULL DEFAULT 0 CHECK (canary_percent BETWEEN 0 AND 99);

-- +goose Down
ALTER TABLE routes
    DROP COLUMN worker_digest, DROP COLUMN canary_release_id, DROP COLUMN canary_manifest_digest,
    DROP COLUMN canary_worker_digest, DROP COLUMN canary_percent;
ALTER TABLE releases DROP COLUMN source_digest, DROP COLUMN checked_at, DROP COLUMN output_digest, DROP COLUMN worker_digest, DROP COLUMN environment;
