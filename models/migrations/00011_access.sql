-- +goose Up
ALTER TABLE memberships ADD CONSTRAINT memberships_role CHECK (role IN ('viewer', 'developer', 'admin', 'owner'));
CREATE INDEX memberships_by_user ON memberships (user_id, created_at);

ALTER TABLE tokens
    -- The first characters of the secret, by which people know it again.
    ADD COLUMN prefix text NOT NULL DEFAULT '',
    ADD COLUMN scope text NOT NULL DEFAULT 'admin' CHECK (scope IN ('read', 'deploy', 'admin')),
    ADD COLUMN project_id text REFERENCES projects ON DELETE CASCADE,
    ADD COLUMN last_used_at timestamptz;
CREATE INDEX tokens_by_organization ON tokens (organization_id, created_at DESC, id DESC);

CREATE TABLE invitations (
    id              text PRIMARY KEY,
    organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE,
    email           citext NOT NULL,
    role            text NOT NULL CHECK (role IN ('viewer', 'developer', 'admin', 'owner')),
    -- SHA-256 of the token in the mailed link.
    hash            bytea NOT NULL UNIQUE,
    invited_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    UNIQUE (organization_id, email)
);
CREATE INDEX invitations_by_email ON invitations (email);

-- A device that waits until its person has approved it in a browser (RFC 8628).
CREATE TABLE device_grants (
    -- SHA-256 of the device code.
    hash            bytea PRIMARY KEY,
    user_code       text NOT NULL UNIQUE,
    client_name     text NOT NULL DEFAULT '',
    ip_address      text NOT NULL DEFAULT '',
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'denied')),
    user_id         text REFERENCES users ON DELETE CASCADE,
    organization_id text REFERENCES organizations ON DELETE CASCADE,
    scope           text NOT NULL DEFAULT 'deploy',
    polled_at       timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL
);
CREATE INDEX device_grants_by_end ON device_grants (expires_at);

-- Files of an organization that has ended may be left on a host under its user
-- ids, which therefore nobody else gets.
ALTER TABLE uid_slots DROP CONSTRAINT uid_slots_organization_id_fkey;

-- +goose Down
DELETE FROM uid_slots WHERE organization_id NOT IN (SELECT id FROM organizations);
ALTER TABLE uid_slots ADD FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE;
DROP TABLE device_grants, invitations;
-- Every token that is left may do everything.
DELETE FROM tokens t WHERE scope <> 'admin' OR project_id IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM memberships m WHERE m.organization_id = t.organization_id AND m.user_id = t.user_id AND m.role IN ('admin', 'owner'));
ALTER TABLE tokens DROP COLUMN prefix, DROP COLUMN scope, DROP COLUMN project_id, DROP COLUMN last_used_at;
DROP INDEX memberships_by_user, tokens_by_organization;
ALTER TABLE memberships DROP CONSTRAINT memberships_role;
