-- +goose Up
-- What HTTPS is served with: certificates, their private keys and the accounts
-- at the certificate authority, each under a path. Values are sealed.
CREATE TABLE certificate_storage (
    -- Compared byte by byte, so that a folder is a range of the index.
    key      text COLLATE "C" PRIMARY KEY,
    value    bytea NOT NULL,
    -- The length of what is sealed.
    size     bigint NOT NULL,
    modified timestamptz NOT NULL DEFAULT now()
);

-- Who is at work on what, and until when unless the lease is renewed.
CREATE TABLE certificate_leases (
    name    text PRIMARY KEY,
    owner   text NOT NULL,
    expires timestamptz NOT NULL
);

-- +goose Down
DROP TABLE certificate_leases;
DROP TABLE certificate_storage;
