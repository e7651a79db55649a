package idempotency

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Safeguards that a negative control takes out.
func (s *Store) WithoutEpoch() *Store { c := *s; c.without.epoch = true; return &c }
func (s *Store) WithoutSeal() *Store  { c := *s; c.without.seal = true; return &c }
func (s *Store) WithoutGate() *Store  { c := *s; c.without.gate = true; return &c }

// TakeOver claims every free key of a method, as one step of a sweep.
func TakeOver(ctx context.Context, s *Store, method string) ([]*Attempt, error) {
	return NewCompleter(s, map[string]func(context.Context, *Attempt) error{method: nil}).takeOver(ctx, 1000)
}

// AttachDay makes the partition of a day.
func AttachDay(ctx context.Context, conn *pgx.Conn, date time.Time) error {
	return attach(ctx, conn, partitionOf(date))
}

// DropExpired drops the partitions that maintenance would drop for a retention.
func DropExpired(ctx context.Context, conn *pgx.Conn, retention time.Duration) error {
	return maintained(ctx, conn, func() error {
		_, err := dropExpired(ctx, conn, retention)
		return err
	})
}

// SQL is the text of an idempotent insert for UUIDv7 keys and of the search for
// its duplicate, for the loop that benchmarks compare with.
func (st Statement) SQL() (claim, find string) { return st.timed, timedKeys.find }

// AlsoIn adds the fingerprint of a call in an earlier version.
func AlsoIn(c *Call, f Fingerprint) { c.earlier = append(c.earlier, f) }
