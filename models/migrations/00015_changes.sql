-- +goose Up
-- What changes is told on the channel slipway_changes as it is committed, for pages
-- that show it live. The payload names the thing; what it is now has to be read.
-- +goose StatementBegin
CREATE FUNCTION tell_change(organization text, kind text, id text, project text, status text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('slipway_changes', json_build_object(
        'organization', organization, 'type', kind, 'id', id, 'project', project, 'status', status)::text)
    WHERE organization IS NOT NULL
$$;
-- +goose StatementEnd

-- Rows with an id, a project, an organization and a status.
-- +goose StatementBegin
CREATE FUNCTION tell_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM tell_change(OLD.organization_id, TG_ARGV[0], OLD.id, OLD.project_id, 'deleted');
    ELSE
        PERFORM tell_change(NEW.organization_id, TG_ARGV[0], NEW.id, NEW.project_id, NEW.status);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- Rows of an organization, without a status.
-- +goose StatementBegin
CREATE FUNCTION tell_organization_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM tell_change(OLD.organization_id, TG_ARGV[0], OLD.id, NULL, 'deleted');
    ELSE
        PERFORM tell_change(NEW.organization_id, TG_ARGV[0], NEW.id, NULL, NULL);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tell_deployment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(NEW.organization_id, 'deployment', NEW.id, NEW.project_id, coalesce(nullif(NEW.outcome, ''), NEW.status));
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_insert AFTER INSERT ON deployments FOR EACH ROW EXECUTE FUNCTION tell_deployment();
-- Not when only the time it was last seen changes.
CREATE TRIGGER tell_update AFTER UPDATE ON deployments FOR EACH ROW
    WHEN ((OLD.state_version, OLD.status, OLD.outcome, OLD.finished_at) IS DISTINCT FROM (NEW.state_version, NEW.status, NEW.outcome, NEW.finished_at))
    EXECUTE FUNCTION tell_deployment();

-- +goose StatementBegin
CREATE FUNCTION tell_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.organization_id <> NEW.organization_id) THEN
        PERFORM tell_change(OLD.organization_id, 'project', OLD.id, OLD.id, 'deleted');
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM tell_change(NEW.organization_id, 'project', NEW.id, NEW.id, NULL);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_row AFTER INSERT OR DELETE ON projects FOR EACH ROW EXECUTE FUNCTION tell_project();
CREATE TRIGGER tell_update AFTER UPDATE ON projects FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION tell_project();

-- +goose StatementBegin
CREATE FUNCTION tell_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(NEW.organization_id, 'release', NEW.id, NEW.project_id, NULL);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_insert AFTER INSERT ON releases FOR EACH ROW EXECUTE FUNCTION tell_release();
CREATE TRIGGER tell_update AFTER UPDATE OF checked_at ON releases FOR EACH ROW
    WHEN (OLD.checked_at IS DISTINCT FROM NEW.checked_at) EXECUTE FUNCTION tell_release();

CREATE TRIGGER tell_row AFTER INSERT OR DELETE ON domains FOR EACH ROW EXECUTE FUNCTION tell_row('domain');
CREATE TRIGGER tell_update AFTER UPDATE ON domains FOR EACH ROW
    WHEN ((OLD.status, OLD.reason) IS DISTINCT FROM (NEW.status, NEW.reason)) EXECUTE FUNCTION tell_row('domain');

CREATE TRIGGER tell_insert AFTER INSERT ON rollouts FOR EACH ROW EXECUTE FUNCTION tell_row('rollout');
CREATE TRIGGER tell_update AFTER UPDATE ON rollouts FOR EACH ROW
    WHEN ((OLD.status, OLD.percent, OLD.reason) IS DISTINCT FROM (NEW.status, NEW.percent, NEW.reason)) EXECUTE FUNCTION tell_row('rollout');

-- Many variables change at once; the same notice is sent once a transaction.
-- +goose StatementBegin
CREATE FUNCTION tell_variables() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    project text := CASE TG_OP WHEN 'DELETE' THEN OLD.project_id ELSE NEW.project_id END;
BEGIN
    PERFORM tell_change(p.organization_id, 'variables', p.id, p.id, NULL) FROM projects p WHERE p.id = project;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_row AFTER INSERT OR UPDATE OR DELETE ON variables FOR EACH ROW EXECUTE FUNCTION tell_variables();

-- An organization's name, its limits and what it has used of them.
-- +goose StatementBegin
CREATE FUNCTION tell_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(NEW.id, 'organization', NEW.id, NULL, NULL);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_update AFTER UPDATE ON organizations FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION tell_organization();

-- +goose StatementBegin
CREATE FUNCTION tell_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM tell_change(OLD.organization_id, 'member', OLD.user_id, NULL, 'deleted');
    ELSE
        PERFORM tell_change(NEW.organization_id, 'member', NEW.user_id, NULL, NEW.role);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tell_row AFTER INSERT OR UPDATE OR DELETE ON memberships FOR EACH ROW EXECUTE FUNCTION tell_member();
CREATE TRIGGER tell_row AFTER INSERT OR UPDATE OR DELETE ON invitations FOR EACH ROW EXECUTE FUNCTION tell_organization_row('invitation');

-- Not each use of a token.
CREATE TRIGGER tell_row AFTER INSERT OR DELETE ON tokens FOR EACH ROW EXECUTE FUNCTION tell_organization_row('token');
CREATE TRIGGER tell_update AFTER UPDATE ON tokens FOR EACH ROW WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at)
    EXECUTE FUNCTION tell_organization_row('token');

CREATE TRIGGER tell_row AFTER INSERT OR UPDATE OR DELETE ON webhooks FOR EACH ROW EXECUTE FUNCTION tell_organization_row('webhook');
CREATE TRIGGER tell_insert AFTER INSERT ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION tell_organization_row('delivery');
CREATE TRIGGER tell_update AFTER UPDATE ON webhook_deliveries FOR EACH ROW
    WHEN ((OLD.status, OLD.attempts) IS DISTINCT FROM (NEW.status, NEW.attempts)) EXECUTE FUNCTION tell_organization_row('delivery');

CREATE TRIGGER tell_insert AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION tell_organization_row('audit');

-- +goose Down
DROP TRIGGER tell_insert ON audit_log;
DROP TRIGGER tell_insert ON webhook_deliveries;
DROP TRIGGER tell_update ON webhook_deliveries;
DROP TRIGGER tell_row ON webhooks;
DROP TRIGGER tell_row ON tokens;
DROP TRIGGER tell_update ON tokens;
DROP TRIGGER tell_row ON invitations;
DROP TRIGGER tell_row ON memberships;
DROP TRIGGER tell_update ON organizations;
DROP TRIGGER tell_row ON variables;
DROP TRIGGER tell_insert ON rollouts;
DROP TRIGGER tell_update ON rollouts;
DROP TRIGGER tell_row ON domains;
DROP TRIGGER tell_update ON domains;
DROP TRIGGER tell_insert ON releases;
DROP TRIGGER tell_update ON releases;
DROP TRIGGER tell_row ON projects;
DROP TRIGGER tell_update ON projects;
DROP TRIGGER tell_insert ON deployments;
DROP TRIGGER tell_update ON deployments;
DROP FUNCTION tell_member(), tell_organization(), tell_variables(), tell_release(), tell_project(), tell_deployment(),
    tell_organization_row(), tell_row(), tell_change(text, text, text, text, text);
