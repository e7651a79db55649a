package idempotency

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
)

// Insert runs st once for the key of call, in one round trip and one commit,
// with the answer stored beside what st writes. If the request came before, st
// does nothing and the outcome is what was stored then.
//
// Build the answer before: display times in it come from the application's
// clock. Errors are typed for the edge, except those that the business may want
// to look at: a violated constraint is a *pgconn.PgError in the chain.
func (s *Store) Insert(ctx context.Context, call *Call, st Statement, answer proto.Message, args ...any) (Outcome, error) {
	raw, err := encode(answer)
	if err != nil {
		return Outcome{}, err
	}
	fresh, row, err := s.claim(ctx, call, st, birth{decided: true, response: raw}, args)
	if err != nil {
		return Outcome{}, err
	}
	if row != nil {
		return call.settle(Outcome{Replayed: !fresh, Raw: row.response}), nil
	}
	return call.settle(Outcome{Raw: raw}), nil
}

// claim writes the key and runs st if the key is new.
func (s *Store) claim(ctx context.Context, call *Call, st Statement, b birth, args []any) (bool, *stored, error) {
	t := call.Key.table()
	sql := st.in(t)
	if sql == "" {
		return false, nil, errors.New("idempotency: the statement was not compiled")
	}
	if s.without.gate {
		sql = strings.Replace(sql, "pg_try_advisory_xact_lock($1)", "$1::bigint IS NOT NULL", 1)
	}
	all := make([]any, t.claimParameters, t.claimParameters+len(args))
	copy(all, []any{
		AdvisoryLock(call.Tenant, call.Key), call.Key.arg(), nil, b.resourceArg(), b.lease, call.Fingerprint.Version, s.secret, b.decided,
		call.Tenant, call.Method, call.Fingerprint.Sum[:], b.response,
	})
	if minted, timed := call.Key.Minted(); timed {
		all[12], all[13], all[14] = minted, s.retention, s.skew
	}
	all = append(all, args...)

	return s.settle(ctx, call, func(ctx context.Context, op uuid.UUID) (sent, error) {
		all[2] = [16]byte(op)
		return s.sendClaim(ctx, t, sql, all, call)
	})
}

// sendClaim is one round trip: two statements without a transaction block of
// their own are one implicit transaction.
func (s *Store) sendClaim(ctx context.Context, t *table, sql string, all []any, call *Call) (got sent, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return sent{}, &notSent{err}
	}
	defer conn.Release()

	var batch pgx.Batch
	batch.Queue(sql, all...)
	batch.Queue(t.find, call.Key.text, call.Tenant, all[2])
	results := conn.SendBatch(ctx, &batch)
	defer func() {
		// Only the end of the batch tells of the commit: a deferred constraint
		// fails after every result was read without an error.
		if closing := results.Close(); err == nil && closing != nil {
			got, err = sent{}, fmt.Errorf("committing an idempotent insert: %w", closing)
		}
		err = definite(conn, err)
	}()

	if err := results.QueryRow().Scan(&got.at, &got.open, &got.fresh, nil); err != nil {
		return sent{}, fmt.Errorf("inserting once: %w", err)
	}
	if got.fresh {
		return got, nil
	}
	got.row, err = scanStored(results.QueryRow())
	if err != nil {
		return sent{}, fmt.Errorf("looking for the answer: %w", err)
	}
	return got, nil
}

// scanStored returns nil if there is no row.
func scanStored(r pgx.Row) (*stored, error) {
	var (
		row         stored
		fingerprint []byte
		resource    *uuid.UUID
	)
	err := r.Scan(&row.Version, &fingerprint, &row.op, &resource, &row.secret, &row.sealed, &row.created, &row.response)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	copy(row.Sum[:], fingerprint)
	if resource != nil {
		row.resource = *resource
	}
	return &row, nil
}

// AdvisoryLock names the advisory lock that a request holds while it commits:
// FNV-1a over tenant and key. Two keys with one lock only ever wait for each
// other. It is exported for tests that hold a key in flight.
func AdvisoryLock(tenant string, k Key) int64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(tenant) {
		h = (h ^ uint64(tenant[i])) * prime
	}
	h = (h ^ 0xff) * prime // no byte of a tenant or a key
	for i := range len(k.text) {
		h = (h ^ uint64(k.text[i])) * prime
	}
	return int64(h)
}
