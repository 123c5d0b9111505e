-- +goose Up
-- When a release first went live; NULL for one that never did, though it may have
-- been seen to answer. Whoever flips a project's pointer sets it by that, processes
-- of the version before among them.
ALTER TABLE releases ADD COLUMN live_at timestamptz;
-- +goose StatementBegin
CREATE FUNCTION release_went_live() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE releases SET live_at = clock_timestamp() WHERE id = NEW.live_release_id AND live_at IS NULL;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER release_went_live AFTER UPDATE OF live_release_id ON projects FOR EACH ROW
    WHEN (OLD.live_release_id IS DISTINCT FROM NEW.live_release_id) EXECUTE FUNCTION release_went_live();

-- What is known of those before: what is live, what rollouts began with and brought
-- live, and what deployments that succeeded brought live, which no preview is.
UPDATE releases r SET live_at = coalesce(d.finished_at, r.checked_at, r.created_at)
FROM deployments d
WHERE d.id = r.deployment_id AND r.checked_at IS NOT NULL AND (
    EXISTS (SELECT FROM projects p WHERE p.id = r.project_id AND p.live_release_id = r.id)
    OR d.outcome = 'succeeded' AND d.input->'preview' IS DISTINCT FROM 'true'::jsonb
    OR r.id IN (SELECT base_release_id FROM rollouts UNION SELECT release_id FROM rollouts WHERE status = 'completed'));

CREATE INDEX releases_by_live ON releases (project_id, sequence DESC) WHERE live_at IS NOT NULL;

-- +goose Down
DROP INDEX releases_by_live;
DROP TRIGGER release_went_live ON projects;
DROP FUNCTION release_went_live();
ALTER TABLE releases DROP COLUMN live_at;
