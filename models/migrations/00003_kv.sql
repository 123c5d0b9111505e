-- +goose Up
-- Key-value namespaces of workers. bytes is what the entries take, kept by a
-- trigger, so that a limit can be held without counting.
CREATE TABLE kv_namespaces (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name            text NOT NULL,
    bytes           bigint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, name)
);

CREATE SEQUENCE kv_versions;

-- Keys are bytes: they sort as Cloudflare's do, by their UTF-8, and may hold NUL.
CREATE TABLE kv_entries (
    namespace_id bigint NOT NULL REFERENCES kv_namespaces (id) ON DELETE CASCADE,
    key          bytea NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 512),
    value        bytea NOT NULL CHECK (octet_length(value) <= 26214400),
    metadata     text CHECK (octet_length(metadata) <= 1024),
    -- version is another after every write, so that a value read in parts is
    -- known to be one value.
    version      bigint NOT NULL DEFAULT nextval('kv_versions'),
    expires_at   timestamptz,
    PRIMARY KEY (namespace_id, key)
);
-- Stored as it is, a part of a large value is read without reading the rest.
ALTER TABLE kv_entries ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE INDEX kv_entries_expires_at ON kv_entries (expires_at) WHERE expires_at IS NOT NULL;

-- +goose StatementBegin
CREATE FUNCTION kv_count() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER kv_count AFTER INSERT OR UPDATE OR DELETE ON kv_entries FOR EACH ROW EXECUTE FUNCTION kv_count();

-- +goose Down
DROP TABLE kv_entries;
DROP FUNCTION kv_count();
DROP SEQUENCE kv_versions;
DROP TABLE kv_namespaces;
