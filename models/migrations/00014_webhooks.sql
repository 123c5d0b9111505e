-- +goose Up
-- Who is told of what happens, over HTTP.
CREATE TABLE webhooks (
    id              text PRIMARY KEY,
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    -- Only this project's events; NULL is all.
    project_id      text REFERENCES projects ON DELETE CASCADE,
    format          text NOT NULL CHECK (format IN ('standard', 'slack', 'github')),
    -- Patterns: "*", "deployment.*" or a kind.
    events          jsonb NOT NULL,
    -- The address as it may be shown: without what gives access in it.
    shown           text NOT NULL,
    -- The whole address and the secrets, sealed.
    sealed          bytea NOT NULL,
    enabled         boolean NOT NULL DEFAULT true,
    -- Why it was disabled by itself; '' when by a person.
    disabled_reason text NOT NULL DEFAULT '',
    -- Since when no delivery has arrived; NULL when the last one has.
    failing_since   timestamptz,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhooks_by_organization ON webhooks (organization_id, created_at DESC, id DESC);
CREATE INDEX webhooks_by_project ON webhooks (project_id);

-- One event on its way to one webhook; the id is also that of its workflow.
CREATE TABLE webhook_deliveries (
    id              text PRIMARY KEY,
    webhook_id      text NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    organization_id text NOT NULL,
    event_id        text NOT NULL,
    kind            text NOT NULL,
    -- The event, byte for byte what is signed and sent.
    payload         json NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'succeeded', 'failed')),
    attempts        int NOT NULL DEFAULT 0,
    -- What the last attempt came to.
    last_status     int NOT NULL DEFAULT 0,
    error           text NOT NULL DEFAULT '',
    workflow_run_id text NOT NULL DEFAULT '',
    -- When a pending one is tried next.
    due_at          timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    UNIQUE (webhook_id, event_id)
);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (due_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

CREATE TABLE webhook_attempts (
    delivery_id text NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    number      int NOT NULL,
    -- The status that was answered; 0 when nothing was.
    status      int NOT NULL,
    duration_ms int NOT NULL,
    -- How the answer's body begins.
    answer      text NOT NULL,
    error       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (delivery_id, number)
);

-- Events are not of deployments alone, some happen several times, and they
-- outlive what they tell of. key names what happened, so that it is told once.
ALTER TABLE outbox
    ADD COLUMN key text,
    ADD COLUMN event_id text,
    ADD COLUMN organization_id text REFERENCES organizations ON DELETE CASCADE,
    ADD COLUMN project_id text NOT NULL DEFAULT '';
UPDATE outbox o SET key = deployment_id || ' ' || kind, event_id = 'evt_' || o.id,
    organization_id = d.organization_id, project_id = d.project_id, delivered_at = coalesce(delivered_at, now())
FROM deployments d WHERE d.id = o.deployment_id;
ALTER TABLE outbox
    ALTER COLUMN key SET NOT NULL,
    ALTER COLUMN event_id SET NOT NULL,
    ALTER COLUMN organization_id SET NOT NULL,
    ALTER COLUMN deployment_id SET DEFAULT '',
    DROP CONSTRAINT outbox_deployment_id_fkey,
    DROP CONSTRAINT outbox_deployment_id_kind_key,
    ADD CONSTRAINT outbox_key UNIQUE (key);
CREATE INDEX outbox_undelivered ON outbox (id) WHERE delivered_at IS NULL;
CREATE INDEX outbox_by_deployment ON outbox (deployment_id);
CREATE INDEX outbox_by_project ON outbox (project_id);
CREATE INDEX outbox_by_age ON outbox (created_at);

-- +goose Down
DROP TABLE webhook_attempts, webhook_deliveries, webhooks;
DELETE FROM outbox o WHERE NOT EXISTS (SELECT 1 FROM deployments d WHERE d.id = o.deployment_id)
    OR EXISTS (SELECT 1 FROM outbox p WHERE p.deployment_id = o.deployment_id AND p.kind = o.kind AND p.id < o.id);
DROP INDEX outbox_undelivered, outbox_by_deployment, outbox_by_project, outbox_by_age;
ALTER TABLE outbox
    DROP CONSTRAINT outbox_key,
    DROP COLUMN key, DROP COLUMN event_id, DROP COLUMN organization_id, DROP COLUMN project_id,
    ALTER COLUMN deployment_id DROP DEFAULT,
    ADD UNIQUE (deployment_id, kind),
    ADD FOREIGN KEY (deployment_id) REFERENCES deployments ON DELETE CASCADE;
