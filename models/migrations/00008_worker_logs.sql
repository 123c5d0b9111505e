-- +goose Up
-- What workers say: the latest lines of each release.
CREATE TABLE worker_logs (
    id         bigserial PRIMARY KEY,
    project_id text NOT NULL REFERENCES projects ON DELETE CASCADE,
    release_id text NOT NULL REFERENCES releases ON DELETE CASCADE,
    line       jsonb NOT NULL
);
CREATE INDEX worker_logs_by_project ON worker_logs (project_id, id);
CREATE INDEX worker_logs_by_release ON worker_logs (release_id, id);

-- +goose Down
DROP TABLE worker_logs;
