-- +goose Up
CREATE EXTENSION IF NOT EXISTS citext;

CREATE TABLE organizations (
    id                text PRIMARY KEY,
    name              text NOT NULL,
    -- Deployments allowed and used in the period; usage counts reservations.
    deployments_limit bigint NOT NULL DEFAULT 1000 CHECK (deployments_limit >= 0),
    deployments_used  bigint NOT NULL DEFAULT 0 CHECK (deployments_used >= 0),
    period_start      timestamptz NOT NULL DEFAULT date_trunc('month', now()),
    period_end        timestamptz NOT NULL DEFAULT date_trunc('month', now()) + interval '1 month',
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id         text PRIMARY KEY,
    email      citext NOT NULL UNIQUE,
    name       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE memberships (
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id         text NOT NULL REFERENCES users ON DELETE CASCADE,
    role            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, user_id)
);

CREATE TABLE tokens (
    id              text PRIMARY KEY,
    hash            bytea NOT NULL UNIQUE,
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id         text NOT NULL REFERENCES users ON DELETE CASCADE,
    name            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz
);

CREATE TABLE projects (
    id                text PRIMARY KEY,
    organization_id   text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name              text NOT NULL,
    worker_name       citext NOT NULL UNIQUE,
    -- The latest accepted source and the sequence of the deployment it came with.
    source_digest     text NOT NULL DEFAULT '',
    source_sequence   bigint NOT NULL DEFAULT 0,
    -- The last sequence given to a deployment of this project.
    last_sequence     bigint NOT NULL DEFAULT 0,
    -- Only a deployment with a sequence at or above the mark may go live.
    high_water_mark   bigint NOT NULL DEFAULT 0,
    live_release_id   text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX projects_by_organization ON projects (organization_id, created_at DESC, id DESC);

CREATE TABLE deployments (
    id              text PRIMARY KEY,
    project_id      text NOT NULL REFERENCES projects ON DELETE CASCADE,
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id         text NOT NULL,
    sequence        bigint NOT NULL,
    status          text NOT NULL DEFAULT 'queued',
    outcome         text NOT NULL DEFAULT '',
    current_step    text NOT NULL DEFAULT '',
    progress        int NOT NULL DEFAULT 0,
    error           text NOT NULL DEFAULT '',
    error_code      text NOT NULL DEFAULT '',
    -- The whole status answer, as last recorded, and its version.
    state           jsonb NOT NULL,
    state_version   bigint NOT NULL DEFAULT 0,
    custom_domain   text NOT NULL DEFAULT '',
    request_digest  text NOT NULL DEFAULT '',
    source_digest   text NOT NULL DEFAULT '',
    release_id      text NOT NULL DEFAULT '',
    log_digest      text NOT NULL DEFAULT '',
    priority        int NOT NULL DEFAULT 3,
    -- The workflow's input, so that the reconciler can start it as the API would have.
    input           jsonb NOT NULL,
    workflow_run_id text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    UNIQUE (project_id, sequence)
);
CREATE INDEX deployments_by_project ON deployments (project_id, sequence DESC);
CREATE INDEX deployments_unfinished ON deployments (updated_at) WHERE finished_at IS NULL;
CREATE INDEX deployments_parked ON deployments (organization_id, updated_at DESC) WHERE outcome = 'dead_letter';

CREATE TABLE idempotency_keys (
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    key             text NOT NULL,
    body_hash       text NOT NULL,
    deployment_id   text NOT NULL REFERENCES deployments ON DELETE CASCADE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, key)
);

CREATE TABLE quota_reservations (
    deployment_id   text PRIMARY KEY,
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    period_start    timestamptz NOT NULL,
    state           text NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'settled', 'refunded')),
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE releases (
    id              text PRIMARY KEY,
    project_id      text NOT NULL REFERENCES projects ON DELETE CASCADE,
    organization_id text NOT NULL,
    deployment_id   text NOT NULL UNIQUE REFERENCES deployments ON DELETE CASCADE,
    sequence        bigint NOT NULL,
    manifest_digest text NOT NULL,
    framework       text NOT NULL DEFAULT '',
    files           int NOT NULL,
    bytes           bigint NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX releases_by_project ON releases (project_id, sequence DESC);

-- A route answers a worker name ('w:<name>') or a custom host ('h:<host>').
CREATE SEQUENCE route_generations;
CREATE TABLE routes (
    key             text PRIMARY KEY,
    project_id      text NOT NULL REFERENCES projects ON DELETE CASCADE,
    organization_id text NOT NULL,
    worker_name     text NOT NULL,
    release_id      text NOT NULL REFERENCES releases,
    manifest_digest text NOT NULL,
    generation      bigint NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX routes_by_project ON routes (project_id);

CREATE TABLE domains (
    host            citext PRIMARY KEY,
    project_id      text NOT NULL REFERENCES projects ON DELETE CASCADE,
    organization_id text NOT NULL,
    status          text NOT NULL DEFAULT 'pending',
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX domains_by_project ON domains (project_id);

CREATE TABLE build_log_chunks (
    deployment_id text NOT NULL REFERENCES deployments ON DELETE CASCADE,
    -- Number of the chunk's first line within the deployment's log, from 1.
    first_line    bigint NOT NULL,
    lines         text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployment_id, first_line)
);

CREATE TABLE build_cache (
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    key             text NOT NULL,
    output_digest   text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, key)
);

CREATE TABLE outbox (
    id            bigserial PRIMARY KEY,
    kind          text NOT NULL,
    deployment_id text NOT NULL REFERENCES deployments ON DELETE CASCADE,
    payload       jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    delivered_at  timestamptz,
    UNIQUE (deployment_id, kind)
);

-- Each organization's builds run under a slot of host user ids of its own.
CREATE TABLE uid_slots (
    organization_id text PRIMARY KEY REFERENCES organizations ON DELETE CASCADE,
    slot            int NOT NULL UNIQUE CHECK (slot >= 0),
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE uid_slots, outbox, build_cache, build_log_chunks, domains, routes, releases, quota_reservations,
    idempotency_keys, deployments, projects, tokens, memberships, users, organizations;
DROP SEQUENCE route_generations;
