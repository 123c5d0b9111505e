-- +goose Up
-- Another after every change that a project's representation shows: what its
-- entity tag is made of.
ALTER TABLE projects ADD COLUMN version bigint NOT NULL DEFAULT 1;
-- +goose StatementBegin
CREATE FUNCTION projects_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.organization_id, OLD.name, OLD.worker_name::text, OLD.live_release_id, OLD.updated_at)
        IS DISTINCT FROM (NEW.organization_id, NEW.name, NEW.worker_name::text, NEW.live_release_id, NEW.updated_at) THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER projects_version BEFORE UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION projects_version();

-- The same of an organization, whose counts change with every deployment.
ALTER TABLE organizations ADD COLUMN version bigint NOT NULL DEFAULT 1;
-- +goose StatementBegin
CREATE FUNCTION organizations_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER organizations_version BEFORE UPDATE ON organizations FOR EACH ROW
    WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION organizations_version();

-- A worker name that was given up stays its organization's for a while, so that
-- nobody else receives the visitors of links that still lead there.
CREATE TABLE retired_names (
    worker_name     citext PRIMARY KEY,
    organization_id text NOT NULL,
    until           timestamptz NOT NULL
);

-- Lists of deployments, by what they are narrowed to.
CREATE INDEX deployments_by_organization ON deployments (organization_id, created_at DESC, id DESC);
CREATE INDEX deployments_by_project_age ON deployments (project_id, created_at DESC, id DESC);
CREATE INDEX deployments_by_user ON deployments (organization_id, user_id, created_at DESC, id DESC);
CREATE INDEX deployments_by_outcome ON deployments (organization_id, outcome, created_at DESC, id DESC) WHERE outcome <> '';

-- What refers to a project's rows, so that deleting one reads no whole table.
CREATE INDEX idempotency_keys_by_deployment ON idempotency_keys (deployment_id);
CREATE INDEX routes_by_release ON routes (release_id);
CREATE INDEX rollouts_by_release ON rollouts (release_id);
CREATE INDEX rollouts_by_base_release ON rollouts (base_release_id);
CREATE INDEX tokens_by_project ON tokens (project_id) WHERE project_id IS NOT NULL;

-- Who did what, from where. It names things that may be gone by now, so it
-- refers to no table; rows are written once and stay.
CREATE TABLE audit_log (
    id              text PRIMARY KEY,
    -- NULL for what a person does about themselves, such as signing in.
    organization_id text,
    user_id         text NOT NULL DEFAULT '',
    token_id        text NOT NULL DEFAULT '',
    session_id      text NOT NULL DEFAULT '',
    action          text NOT NULL,
    outcome         text NOT NULL CHECK (outcome IN ('succeeded', 'refused')),
    code            text NOT NULL DEFAULT '',
    targets         jsonb NOT NULL DEFAULT '{}',
    address         text NOT NULL DEFAULT '',
    user_agent      text NOT NULL DEFAULT '',
    request_id      text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX audit_log_by_organization ON audit_log (organization_id, created_at DESC, id DESC);
CREATE INDEX audit_log_by_user ON audit_log (organization_id, user_id, created_at DESC, id DESC);
CREATE INDEX audit_log_by_action ON audit_log (organization_id, action, created_at DESC, id DESC);
-- +goose StatementBegin
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_rows BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_log_table BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- +goose Down
DROP TABLE audit_log;
DROP FUNCTION audit_log_is_append_only();
DROP INDEX tokens_by_project, rollouts_by_base_release, rollouts_by_release, routes_by_release, idempotency_keys_by_deployment,
    deployments_by_outcome, deployments_by_user, deployments_by_project_age, deployments_by_organization;
DROP TABLE retired_names;
DROP TRIGGER organizations_version ON organizations;
DROP FUNCTION organizations_version();
ALTER TABLE organizations DROP COLUMN version;
DROP TRIGGER projects_version ON projects;
DROP FUNCTION projects_version();
ALTER TABLE projects DROP COLUMN version;
