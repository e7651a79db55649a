-- +goose NO TRANSACTION

-- +goose Up

-- Authorizations have no entry in the ledger. Few are open at a time.
DROP INDEX CONCURRENTLY IF EXISTS payments_authorized;
CREATE INDEX CONCURRENTLY payments_authorized ON payments (create_time, id) WHERE state = 'authorized';

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS payments_authorized;
