-- +goose NO TRANSACTION

-- +goose Up

-- Reconciliation reads the ledger by time.
DROP INDEX CONCURRENTLY IF EXISTS ledger_entries_by_time;
CREATE INDEX CONCURRENTLY ledger_entries_by_time ON ledger_entries (create_time, payment_id, processor_key);

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS ledger_entries_by_time;
