-- +goose Up
-- What a person did about their own account, for GET /me/audit.
CREATE INDEX audit_log_by_account ON audit_log (user_id, created_at DESC, id DESC) WHERE organization_id IS NULL;

-- +goose Down
DROP INDEX audit_log_by_account;
