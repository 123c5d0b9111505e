-- +goose Up
-- A release that takes over from the live one step by step.
CREATE TABLE rollouts (
    id              text PRIMARY KEY,
    project_id      text NOT NULL REFERENCES projects ON DELETE CASCADE,
    organization_id text NOT NULL,
    user_id         text NOT NULL,
    release_id      text NOT NULL REFERENCES releases ON DELETE CASCADE,
    base_release_id text NOT NULL REFERENCES releases ON DELETE CASCADE,
    -- The workflow's input.
    input           jsonb NOT NULL,
    percent         int NOT NULL DEFAULT 0,
    status          text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'reverted', 'canceled', 'superseded')),
    reason          text NOT NULL DEFAULT '',
    workflow_run_id text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);
CREATE INDEX rollouts_by_project ON rollouts (project_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX rollouts_running ON rollouts (project_id) WHERE status = 'running';

-- What visitors were answered during rollouts, by release and ten seconds.
CREATE TABLE release_counts (
    release_id text NOT NULL REFERENCES releases ON DELETE CASCADE,
    bucket     timestamptz NOT NULL,
    requests   bigint NOT NULL,
    errors     bigint NOT NULL,
    PRIMARY KEY (release_id, bucket)
);

-- +goose Down
DROP TABLE release_counts, rollouts;
