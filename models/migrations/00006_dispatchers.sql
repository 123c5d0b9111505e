-- +goose Up
-- A dispatcher that serves says so every few seconds.
CREATE TABLE dispatchers (
    id         text PRIMARY KEY,
    host       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);

-- What each has taken note of: no request that came after is answered by an
-- earlier generation of the route.
CREATE TABLE route_acks (
    dispatcher_id text NOT NULL REFERENCES dispatchers ON DELETE CASCADE,
    route_key     text NOT NULL,
    generation    bigint NOT NULL,
    PRIMARY KEY (dispatcher_id, route_key)
);

-- Previews find a release by the beginning of its id.
CREATE INDEX releases_by_short_id ON releases (id text_pattern_ops);

-- +goose Down
DROP INDEX releases_by_short_id;
DROP TABLE route_acks, dispatchers;
