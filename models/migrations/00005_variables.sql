-- +goose Up
CREATE TABLE variables (
    project_id text NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text NOT NULL,
    -- Sealed with the installation's key, bound to the project and the name.
    sealed     bytea NOT NULL,
    secret     boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, name)
);

-- +goose Down
DROP TABLE variables;
