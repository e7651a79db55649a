package idempotency_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// days lets so many days pass, hour by hour, while clients are at work. Every
// hour maintenance runs, beside them, as the job does.
func (r *retries) days(t *testing.T, n int, maintain func(context.Context) error) {
	t.Helper()
	for range n * 24 {
		r.clock.pass(t, time.Hour)
		done := make(chan error, 1)
		go func() { done <- maintain(t.Context()) }()
		r.more(t, 24)
		require.NoError(t, <-done)
	}
}

// TestARetryIsReplayedOrRefusedAndNeverExecutedAgain holds through the life of
// partitions and tombstones: five days pass under clients that send their keys
// again at every age, while partitions are made and dropped, opaque keys are
// buried, and the sweep completes what owners left.
func TestARetryIsReplayedOrRefusedAndNeverExecutedAgain(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	before := partitions(t, db)
	r, end := startRetries(t, db, c)
	r.days(t, 5, db.Maintain)
	end()
	r.audit(t)
	require.Empty(t, r.wrong)

	for _, what := range []string{
		"replayed in its last hours", "used for the first time in its last hours",
		"refused", "refused, and never used", "taken over",
	} {
		require.NotZero(t, r.seen[what], "nothing was %s", what)
	}
	for _, name := range before[:2] {
		require.False(t, exists(t, db, name), "%s was not dropped", name)
	}
	require.NotZero(t, scalar[int](t, db, "SELECT count(*) FROM idempotency_opaque_keys WHERE fingerprint IS NULL"), "nothing was buried")
	t.Logf("%d requests for %d keys: %v", r.made.Load(), len(r.intents), r.seen)
}

// TestTheDayTurnsUnderLoad: the clock runs over midnight, six times, while clients
// write and repeat. There are partitions for three days ahead to begin with.
func TestTheDayTurnsUnderLoad(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	r, end := startRetries(t, db, c)
	for range 6 {
		r.midnight(t, db.Maintain)
	}
	end()
	r.audit(t)
	require.Empty(t, r.wrong)
	for days := range 3 {
		day := "idempotency_keys_" + c.now().AddDate(0, 0, -days).Format("20060102")
		require.NotZero(t, scalar[int](t, db, "SELECT count(*) FROM "+day), "nothing was written into %s", day)
	}
}

// midnight lets time run from just before midnight to after it.
func (r *retries) midnight(t *testing.T, maintain func(context.Context) error) {
	t.Helper()
	now := r.clock.now()
	next := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	r.clock.pass(t, next.Sub(now)-50*time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- maintain(t.Context()) }()
	for r.more(t, 50); r.clock.now().Before(next); {
		r.more(t, 10)
	}
	r.more(t, 100)
	require.NoError(t, <-done)
}

// TestADetachThatIsCancelledHalfWayIsFinishedUnderLoad: whoever cancels it, an
// operator or a restart, clients must not notice.
func TestADetachThatIsCancelledHalfWayIsFinishedUnderLoad(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	r, end := startRetries(t, db, c)
	first := dayName(0)
	db.exec(t, "DROP TABLE "+dayName(-1)) // or it would be the first to be detached
	for range 4 {
		r.more(t, 100)
		c.pass(t, 24*time.Hour)
		require.NoError(t, idempotency.Maintain(t.Context(), connect(t, db)), "which makes partitions and drops none")
	}
	require.NotZero(t, scalar[int](t, db, "SELECT count(*) FROM "+first))

	release := readParent(t, db)
	done := make(chan error, 1)
	go func() { done <- db.Maintain(t.Context()) }()
	eventually(t, "detaching waits for a reader", func() bool { return detaching(t, db) != "" })
	r.more(t, 50)
	db.exec(t, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'ALTER TABLE % DETACH PARTITION % CONCURRENTLY'`)
	require.ErrorContains(t, <-done, "canceling statement due to user request")
	require.Equal(t, first, detaching(t, db), "it was cancelled before the middle")
	r.more(t, 200)
	release()
	for exists(t, db, first) { // a run gives way to a lock that it does not get
		require.NoError(t, db.Maintain(t.Context()))
	}
	require.Empty(t, detaching(t, db))
	r.more(t, 200)
	end()
	r.audit(t)
	require.Empty(t, r.wrong)
}

// detaching is the partition whose detach is half done, or empty.
func detaching(t testing.TB, db *database) string {
	t.Helper()
	return scalar[string](t, db, "SELECT coalesce(max(inhrelid::regclass::text), '') FROM pg_inherits WHERE inhdetachpending")
}

// quickly has duplicates of a key that is being worked on wait no longer than
// tests care to.
func quickly(c *idempotency.Config) { c.Wait = 5 * time.Millisecond }
