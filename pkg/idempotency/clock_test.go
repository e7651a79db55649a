package idempotency_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// slack is how far apart the clock of the test and that of the server may be.
const slack = time.Minute

// clock is what a database takes for the time, in all its sessions: a function
// now() that is found before the built-in one. A test moves it; it never goes
// back, and otherwise runs as time does.
type clock struct {
	db *database
	// behind and ahead bound what a session sees while the clock is moved.
	behind, ahead atomic.Int64
}

// newClockedDatabase is a database with a clock.
func newClockedDatabase(t *testing.T, change ...func(*idempotency.Config)) (*database, *clock) {
	t.Helper()
	db := newDatabase(t, change...)
	db.exec(t, `
CREATE TABLE clock (ahead interval NOT NULL);
INSERT INTO clock VALUES ('0');
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE
	AS 'SELECT pg_catalog.now() + (SELECT ahead FROM public.clock)';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$;
-- Defaults were bound to the built-in function when the tables were made.
ALTER TABLE idempotency_keys ALTER create_time SET DEFAULT public.now();
ALTER TABLE idempotency_opaque_keys ALTER create_time SET DEFAULT public.now();`)
	// The setting is for sessions that begin after it.
	cfg, err := pgxpool.ParseConfig(db.url)
	require.NoError(t, err)
	cfg.MaxConns = 12
	db.pool, err = pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(db.pool.Close)
	db.Store = newStore(t, db.pool, change...)
	return db, &clock{db: db}
}

// pass moves the clock ahead.
func (c *clock) pass(t testing.TB, d time.Duration) {
	t.Helper()
	ahead := c.ahead.Add(int64(d))
	c.db.exec(t, "UPDATE clock SET ahead = $1", time.Duration(ahead))
	c.behind.Store(ahead)
}

// atLeast is a time that every statement begun from now on finds past.
func (c *clock) atLeast() time.Time { return c.now().Add(-slack) }

// atMost is a time that no statement that has ended by now found past.
func (c *clock) atMost() time.Time { return time.Now().Add(time.Duration(c.ahead.Load()) + slack) }

// now is the time by the clock.
func (c *clock) now() time.Time { return time.Now().UTC().Add(time.Duration(c.behind.Load())) }

// mint makes a key as a client with the right time does.
func (c *clock) mint() idempotency.Key {
	return idempotency.NewKeyAt(c.now())
}

// call is an arrival at a process whose clock is right.
func (c *clock) call(k idempotency.Key) *idempotency.Call {
	call := callWith(k)
	call.Started = c.now()
	return call
}

// TestTheStoreGoesByTheDatabasesClock: what the tests below move is what decides.
func TestTheStoreGoesByTheDatabasesClock(t *testing.T) {
	db, c := newClockedDatabase(t)
	call := c.call(c.mint())
	_, err := db.charge(t.Context(), call)
	require.NoError(t, err)
	opaque := c.call(key(t, "an-opaque-key"))
	_, err = db.charge(t.Context(), opaque)
	require.NoError(t, err)
	c.pass(t, 23*time.Hour)
	for _, first := range []*idempotency.Call{call, opaque} {
		replay, err := db.charge(t.Context(), c.call(first.Key))
		require.NoError(t, err)
		require.True(t, replay.Replayed)
	}
	c.pass(t, 2*time.Hour)
	for _, first := range []*idempotency.Call{call, opaque} {
		_, err := db.charge(t.Context(), c.call(first.Key))
		require.ErrorContains(t, err, "past its retention")
	}
	require.WithinDuration(t, time.Now().Add(25*time.Hour), scalar[time.Time](t, db, "SELECT now()"), slack)
}
