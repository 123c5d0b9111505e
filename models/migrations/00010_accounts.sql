-- +goose Up
ALTER TABLE users
    ADD COLUMN email_verified boolean NOT NULL DEFAULT false,
    ADD COLUMN image text NOT NULL DEFAULT '',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- A way a user signs in: "credential" with a password, or another provider.
CREATE TABLE accounts (
    id            text PRIMARY KEY,
    user_id       text NOT NULL REFERENCES users ON DELETE CASCADE,
    provider_id   text NOT NULL,
    -- The user's id at the provider; of "credential" our own.
    account_id    text NOT NULL,
    password_hash text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider_id, account_id),
    UNIQUE (user_id, provider_id)
);

CREATE TABLE sessions (
    id              text PRIMARY KEY,
    -- SHA-256 of the token.
    hash            bytea NOT NULL UNIQUE,
    user_id         text NOT NULL REFERENCES users ON DELETE CASCADE,
    -- The organization last acted in; "" is the first.
    organization_id text NOT NULL DEFAULT '',
    ip_address      text NOT NULL DEFAULT '',
    user_agent      text NOT NULL DEFAULT '',
    -- Whether the session outlives the browser and is renewed while it is used.
    remembered      boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at DESC);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- What proves something once: a mailed link, a sign-in elsewhere under way.
-- The hash is of the kind and the secret.
CREATE TABLE verifications (
    hash       bytea PRIMARY KEY,
    kind       text NOT NULL,
    user_id    text REFERENCES users ON DELETE CASCADE,
    payload    jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX verifications_by_end ON verifications (expires_at);

-- +goose Down
DROP TABLE verifications, sessions, accounts;
ALTER TABLE users DROP COLUMN email_verified, DROP COLUMN image, DROP COLUMN updated_at;
