package idempotency

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What a store does without keys: the business writes and nothing else, in as many
// round trips and commits. Benchmarks compare with it. A production build has no way
// to ask for it.

// bareStatement is the business half of a statement by itself.
func bareStatement(sql string) string {
	tokens := tokenize(sql)
	if tokens[0].is("INSERT") {
		return "WITH claimed AS (SELECT 1)\n" + sql
	}
	return "WITH claimed AS (SELECT 1),\n" + strings.TrimRight(sql, " \n;") + "\nSELECT 1"
}

func (s *Store) beginBare(ctx context.Context, call *Call, st Statement, resource uuid.UUID, args []any) (*Attempt, Outcome, error) {
	if _, err := s.pool.Exec(ctx, st.bare, args...); err != nil {
		return nil, Outcome{}, fmt.Errorf("inserting without a key: %w", err)
	}
	return s.begun(call, resource, true, nil)
}

func (a *Attempt) writeBare(ctx context.Context, write func(*pgx.Batch)) error {
	var batch pgx.Batch
	if write != nil {
		write(&batch)
	}
	if err := a.store.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("storing an outcome without a key: %w", err)
	}
	return nil
}
