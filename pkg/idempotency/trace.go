package idempotency

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Trace is what a key's row tells to somebody who knows the resource and not
// the key: reconciliation, which compares what a processor was asked for with
// what it did. It is for looking; only an [Attempt] may decide.
type Trace struct {
	Tenant   string
	Method   string
	Resource uuid.UUID
	// CreateTime is when the key was first used, by the database's clock.
	CreateTime time.Time

	key     Key
	secret  int16
	deriver *Deriver
}

// ProviderKey is the key under which a step of the request calls a system
// outside; see [Attempt.ProviderKey].
func (t Trace) ProviderKey(step string) string {
	return t.deriver.providerKey(t.secret, t.Tenant, t.key, step)
}

const traceColumns = `tenant, method, resource, create_time, secret`

// undecidedTraces reads both tables by their indexes of what is undecided, which
// are empty most of the time.
const undecidedTraces = `
SELECT key::text AS key, TRUE AS timed, ` + traceColumns + `
FROM idempotency_keys
WHERE NOT decided AND resource IS NOT NULL
UNION ALL
SELECT key, FALSE, ` + traceColumns + `
FROM idempotency_opaque_keys
WHERE NOT decided AND resource IS NOT NULL`

// UndecidedBefore returns at most limit keys that were first used before a time
// and are still undecided, oldest first, going on after the last one of the page
// before; its zero value begins.
func (s *Store) UndecidedBefore(ctx context.Context, before time.Time, after Trace, limit int) ([]Trace, error) {
	const query = `
SELECT key, timed, ` + traceColumns + `
FROM (` + undecidedTraces + `) undecided
WHERE create_time < $1 AND (create_time, resource) > ($2, $3)
ORDER BY create_time, resource
LIMIT $4`
	rows, err := s.pool.Query(ctx, query, before, after.CreateTime, after.Resource, limit)
	if err != nil {
		return nil, fmt.Errorf("listing undecided keys: %w", err)
	}
	return s.traces(rows)
}

// UndecidedOf returns the undecided keys of some resources, in the transaction
// in which the caller reads the resources themselves.
func (s *Store) UndecidedOf(ctx context.Context, tx pgx.Tx, resources []uuid.UUID) ([]Trace, error) {
	const query = `
SELECT key, timed, ` + traceColumns + `
FROM (` + undecidedTraces + `) undecided
WHERE resource = ANY ($1)`
	rows, err := tx.Query(ctx, query, resources)
	if err != nil {
		return nil, fmt.Errorf("finding undecided keys: %w", err)
	}
	return s.traces(rows)
}

// Beginning finds the key that a resource began with, by what [Deriver.ResourceID]
// keeps of it. It returns false when the key is not there any more.
func (s *Store) Beginning(ctx context.Context, tenant string, resource uuid.UUID) (Trace, bool, error) {
	query, args := `
SELECT key, FALSE, `+traceColumns+`
FROM idempotency_opaque_keys
WHERE resource = $1 AND tenant = $2
ORDER BY create_time
LIMIT 1`, []any{resource, tenant}
	if resource.Version() == 7 {
		// Key and resource have one timestamp, so the key is within a millisecond's
		// range of the primary key.
		from, to := uuid.UUID{}, uuid.UUID{}
		millis := timestampOf(resource)
		putTimestamp(&from, millis)
		putTimestamp(&to, millis+1)
		query = `
SELECT key::text, TRUE, ` + traceColumns + `
FROM idempotency_keys
WHERE resource = $1 AND tenant = $2 AND key >= $3 AND key < $4
ORDER BY create_time
LIMIT 1`
		args = append(args, from, to)
	}
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return Trace{}, false, fmt.Errorf("finding the key of a resource: %w", err)
	}
	found, err := s.traces(rows)
	if err != nil || len(found) == 0 {
		return Trace{}, false, err
	}
	return found[0], true, nil
}

func (s *Store) traces(rows pgx.Rows) ([]Trace, error) {
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Trace, error) {
		t := Trace{deriver: s.deriver}
		var text string
		var timed bool
		if err := row.Scan(&text, &timed, &t.Tenant, &t.Method, &t.Resource, &t.CreateTime, &t.secret); err != nil {
			return t, err
		}
		t.key = Key{text: text}
		if timed {
			id, err := uuid.Parse(text)
			if err != nil {
				return t, err
			}
			t.key = keyOf(id)
		}
		return t, nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	return found, nil
}

// Hasten ends the lease of whoever owns an undecided key of the resource, so
// that the completer takes it over with its next sweep. It decides nothing: the
// epoch of the takeover fences an owner that is still at work.
func (s *Store) Hasten(ctx context.Context, resource uuid.UUID) error {
	for _, t := range []*table{timedKeys, opaqueKeys} {
		query := `UPDATE ` + t.name + `
SET lease_until = now()
WHERE resource = $1 AND NOT decided AND lease_until > now()`
		if _, err := s.pool.Exec(ctx, query, resource); err != nil {
			return fmt.Errorf("hastening an undecided key: %w", err)
		}
	}
	return nil
}
