-- +goose Up
-- Anybody may claim a host for a project; who proves to own it first has it.
ALTER TABLE domains DROP CONSTRAINT domains_pkey;
ALTER TABLE domains
    ADD COLUMN id              text,
    ADD COLUMN token           text,
    ADD COLUMN reason          text NOT NULL DEFAULT '',
    ADD COLUMN workflow_run_id text NOT NULL DEFAULT '',
    ADD COLUMN verified_at     timestamptz,
    ADD COLUMN active_at       timestamptz,
    ADD COLUMN updated_at      timestamptz NOT NULL DEFAULT now();
UPDATE domains SET
    id = 'dom_' || substr(translate(md5(random()::text || host), '0189', 'ghij'), 1, 26),
    token = substr(translate(md5(random()::text || project_id), '0189', 'ghij'), 1, 26);
ALTER TABLE domains
    ALTER COLUMN id SET NOT NULL,
    ALTER COLUMN token SET NOT NULL,
    ADD PRIMARY KEY (id),
    ADD CONSTRAINT domains_of_project UNIQUE (project_id, host),
    ADD CONSTRAINT domains_status CHECK (status IN ('pending', 'verified', 'active', 'failed'));
DROP INDEX domains_by_project;
CREATE UNIQUE INDEX domains_owned ON domains (host) WHERE status IN ('verified', 'active');
CREATE INDEX domains_unstarted ON domains (updated_at) WHERE workflow_run_id = '';

-- +goose Down
DELETE FROM domains a USING domains b WHERE a.host = b.host AND a.id > b.id;
DROP INDEX domains_owned, domains_unstarted;
ALTER TABLE domains
    DROP CONSTRAINT domains_pkey, DROP CONSTRAINT domains_of_project, DROP CONSTRAINT domains_status,
    DROP COLUMN id, DROP COLUMN token, DROP COLUMN reason, DROP COLUMN workflow_run_id, DROP COLUMN verified_at,
    DROP COLUMN active_at, DROP COLUMN updated_at, ADD PRIMARY KEY (host);
CREATE INDEX domains_by_project ON domains (project_id);
