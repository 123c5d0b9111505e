-- +goose Up
-- Active domains are looked at again and again: when next, when last, and since
-- when and how often they were seen pointing elsewhere.
ALTER TABLE domains
    ADD COLUMN check_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN checked_at timestamptz,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN failed_checks int NOT NULL DEFAULT 0;
-- Not all at once.
UPDATE domains SET check_at = now() + random() * interval '1 day';
CREATE INDEX domains_due ON domains (check_at) WHERE status = 'active';

-- Whether a build was let begin: it is then let finish. Those under way were by
-- being taken at all.
ALTER TABLE quota_reservations ADD COLUMN build_admitted boolean NOT NULL DEFAULT false;
UPDATE quota_reservations SET build_admitted = true WHERE state = 'reserved';

-- What a key-value entry counts: key, value, metadata, and 256 bytes for its row
-- and its entries in the indexes, so that empty values fill no disk.
-- +goose StatementBegin
CREATE FUNCTION kv_entry_size(key bytea, value bytea, metadata text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 256::bigint + octet_length(key) + octet_length(value) + coalesce(octet_length(metadata), 0)
$$;
CREATE OR REPLACE FUNCTION kv_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    grown bigint := 0;
    namespace bigint;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        namespace := OLD.namespace_id;
        grown := -kv_entry_size(OLD.key, OLD.value, OLD.metadata);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        namespace := NEW.namespace_id;
        grown := grown + kv_entry_size(NEW.key, NEW.value, NEW.metadata);
    END IF;
    IF grown <> 0 THEN
        UPDATE kv_namespaces SET bytes = bytes + grown WHERE id = namespace;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
LOCK TABLE kv_entries IN SHARE ROW EXCLUSIVE MODE;
UPDATE kv_namespaces n SET bytes = n.bytes + 256 * e.entries
FROM (SELECT namespace_id, count(*) AS entries FROM kv_entries GROUP BY namespace_id) e WHERE e.namespace_id = n.id;

-- Lists narrowed to what is rare among much else, such as what failed.
CREATE INDEX deployments_by_status ON deployments (organization_id, status, created_at DESC, id DESC);
CREATE INDEX deployments_by_project_status ON deployments (project_id, status, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_by_status ON webhook_deliveries (webhook_id, status, created_at DESC, id DESC) WHERE status <> 'succeeded';
-- The oldest are removed with every look at a rollout.
CREATE INDEX release_counts_by_age ON release_counts (bucket);
-- What releases of one build have in common, as a column: of an expression, PostgreSQL
-- cannot read an index alone.
ALTER TABLE releases ADD COLUMN output_key text GENERATED ALWAYS AS (coalesce(nullif(output_digest, ''), id)) STORED;
DROP INDEX releases_by_output;
CREATE INDEX releases_by_output ON releases (organization_id, output_key) INCLUDE (bytes);

-- +goose Down
DROP INDEX releases_by_output;
ALTER TABLE releases DROP COLUMN output_key;
CREATE INDEX releases_by_output ON releases (organization_id, (coalesce(nullif(output_digest, ''), id))) INCLUDE (bytes);
DROP INDEX release_counts_by_age, webhook_deliveries_by_status, deployments_by_project_status, deployments_by_status;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION kv_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    grown bigint := 0;
    namespace bigint;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        namespace := OLD.namespace_id;
        grown := -(octet_length(OLD.key) + octet_length(OLD.value) + coalesce(octet_length(OLD.metadata), 0));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        namespace := NEW.namespace_id;
        grown := grown + octet_length(NEW.key) + octet_length(NEW.value) + coalesce(octet_length(NEW.metadata), 0);
    END IF;
    IF grown <> 0 THEN
        UPDATE kv_namespaces SET bytes = bytes + grown WHERE id = namespace;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP FUNCTION kv_entry_size(bytea, bytea, text);
LOCK TABLE kv_entries IN SHARE ROW EXCLUSIVE MODE;
UPDATE kv_namespaces n SET bytes = n.bytes - 256 * e.entries
FROM (SELECT namespace_id, count(*) AS entries FROM kv_entries GROUP BY namespace_id) e WHERE e.namespace_id = n.id;
ALTER TABLE quota_reservations DROP COLUMN build_admitted;
DROP INDEX domains_due;
ALTER TABLE domains DROP COLUMN check_at, DROP COLUMN checked_at, DROP COLUMN failing_since, DROP COLUMN failed_checks;
