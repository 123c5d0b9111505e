-- +goose Up
-- Objects in blob storage that nothing was seen to refer to. One that is still
-- here long after that, and still unreferred, is deleted; whoever is told that an
-- object is there takes it off first.
CREATE TABLE condemned_blobs (
    -- An organization, or one that was: its objects outlive it.
    organization_id text NOT NULL,
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    condemned_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Since when somebody is at its deletion; NULL while nobody is.
    deleting_at     timestamptz,
    PRIMARY KEY (organization_id, digest)
);

-- Whose objects are looked at, and when they last were.
CREATE TABLE blob_collections (
    organization_id text PRIMARY KEY,
    collected_at    timestamptz,
    -- Until when one worker has it to itself, unless it goes on.
    leased_until    timestamptz NOT NULL DEFAULT now()
);
INSERT INTO blob_collections (organization_id) SELECT id FROM organizations;

-- +goose StatementBegin
CREATE FUNCTION collect_blobs_of() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO blob_collections (organization_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER collect_blobs AFTER INSERT ON organizations FOR EACH ROW EXECUTE FUNCTION collect_blobs_of();

-- The build output that a deployment goes on with, which only its workflow knew.
-- NULL is of deployments from before this: not known.
ALTER TABLE deployments ADD COLUMN output_digest text;
ALTER TABLE deployments ALTER COLUMN output_digest SET DEFAULT '';

-- +goose Down
ALTER TABLE deployments DROP COLUMN output_digest;
DROP TRIGGER collect_blobs ON organizations;
DROP FUNCTION collect_blobs_of();
DROP TABLE blob_collections, condemned_blobs;
