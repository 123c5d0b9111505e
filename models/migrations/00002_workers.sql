-- +goose Up
-- A release may have server code, and carries the variables it runs with.
ALTER TABLE releases
    ADD COLUMN output_digest text NOT NULL DEFAULT '',
    ADD COLUMN worker_digest text NOT NULL DEFAULT '',
    ADD COLUMN environment   bytea;

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
ALTER TABLE releases DROP COLUMN output_digest, DROP COLUMN worker_digest, DROP COLUMN environment;
