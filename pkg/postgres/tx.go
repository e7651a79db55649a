package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tx runs do in one READ COMMITTED transaction and commits if it returns nil.
//
// What do returns comes back mapped by MapError: errors of the domain pass
// unchanged. An error of the commit itself is mapped by MapWriteError, because
// a connection lost then leaves open whether the transaction happened. Tx does
// not retry: whoever holds the idempotency key does.
func Tx(ctx context.Context, pool *pgxpool.Pool, do func(ctx context.Context, tx pgx.Tx) error) error {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return MapError(fmt.Errorf("beginning a transaction: %w", err))
	}
	// Also after a panic, and also when ctx has ended. After a commit it does
	// nothing.
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = tx.Rollback(last)
	}()
	if err := do(ctx, tx); err != nil {
		return MapError(err)
	}
	if err := tx.Commit(ctx); err != nil {
		return MapWriteError(fmt.Errorf("committing: %w", err))
	}
	return nil
}
