package idempotency_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
)

// onePool connects with a single connection, so that what the proxy sees is one
// write and nothing else.
func onePool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(t.Context()), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// cutEverywhere runs a write once for every message that its round trips
// consist of, cutting the connection in front of that message, and requires one
// effect and one answer each time.
func cutEverywhere(t *testing.T, write func(ctx context.Context, db *database, call *idempotency.Call) (idempotency.Outcome, error), effects func(db *database) int) {
	for _, fromServer := range []bool{false, true} {
		direction := map[bool]string{false: "to the server", true: "from the server"}[fromServer]
		t.Run(direction, func(t *testing.T) {
			db := newDatabase(t)
			p, url := pgproxy.New(t, db.url)
			pool := onePool(t, url)
			cut := &database{Store: newStore(t, pool), pool: pool, url: url}
			for n := 0; ; n++ {
				_, err := write(t.Context(), cut, aCall()) // prepares what a cut connection lost
				require.NoError(t, err)
				before := effects(db)

				call := aCall()
				p.CutBefore(n, fromServer, nil)
				first, err := write(t.Context(), cut, call)
				whole := !p.Disarm() // the write had fewer messages than that
				require.NoError(t, err, "sending again finds out what became of it")
				require.Equal(t, before+1, effects(db), "cut in front of message %d", n)

				repeat, err := write(t.Context(), db, again(call))
				require.NoError(t, err)
				require.True(t, repeat.Replayed)
				require.Equal(t, first.Raw, repeat.Raw, "cut in front of message %d", n)
				require.Equal(t, before+1, effects(db))
				if whole {
					require.Greater(t, n, 4, "the proxy saw the messages")
					return
				}
				require.Less(t, n, 100, "no end of messages")
			}
		})
	}
}

func TestAnInsertCutAtAnyMessageHappensOnce(t *testing.T) {
	cutEverywhere(t, func(ctx context.Context, db *database, call *idempotency.Call) (idempotency.Outcome, error) {
		return db.charge(ctx, call)
	}, func(db *database) int { return db.effects(t) })
}

func TestAModificationCutAtAnyMessageHappensOnce(t *testing.T) {
	cutEverywhere(t, func(ctx context.Context, db *database, call *idempotency.Call) (idempotency.Outcome, error) {
		return db.Modify(ctx, call, withdraw(1))
	}, func(db *database) int { return 1000 - db.balance(t) })
}

func TestTwoCommitsCutAtAnyMessageHappenOnce(t *testing.T) {
	cutEverywhere(t, func(ctx context.Context, db *database, call *idempotency.Call) (idempotency.Outcome, error) {
		a, o, err := db.begin(ctx, call)
		if a == nil || err != nil {
			return o, err
		}
		o, err = a.Complete(ctx, anAnswer(), decideEffect(a, 1))
		if err != nil {
			return o, fmt.Errorf("completing: %w", err)
		}
		return o, nil
	}, func(db *database) int { return scalar[int](t, db, "SELECT coalesce(sum(amount), 0) FROM effects") })
}

// TestAnOwnerThatLearnsLateThatItIsOneIsFenced: its first commit happened, the
// connection was cut before it was told, and until it asked again the completer
// had taken over. It must not take the completer's epoch for its own.
func TestAnOwnerThatLearnsLateThatItIsOneIsFenced(t *testing.T) {
	db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 20 * time.Millisecond })
	p, url := pgproxy.New(t, db.url)
	pool := onePool(t, url)
	cut := &database{Store: newStore(t, pool, func(c *idempotency.Config) { c.Wait = 20 * time.Millisecond }), pool: pool, url: url}
	_, err := cut.charge(t.Context(), aCall()) // connects
	require.NoError(t, err)

	call := aCall()
	release := p.Hold()
	p.CutBefore(0, true, nil)
	begun := make(chan *idempotency.Attempt)
	go func() {
		a, _, err := cut.begin(t.Context(), call)
		assert.NoError(t, err)
		begun <- a
	}()
	eventually(t, "the first commit", func() bool { return db.undecided(t) == 1 && !p.Armed() })
	completer := db.takeOver(t, call)
	release()
	late := <-begun
	require.NotNil(t, late)

	_, err = late.Complete(t.Context(), anAnswer(), decideEffect(late, 100))
	requireReason(t, err, apierror.ReasonOutcomeUnknown)
	_, err = late.Seal(t.Context(), anAnswer())
	requireReason(t, err, apierror.ReasonOutcomeUnknown)
	require.Equal(t, 100, db.amount(t), "which is of the call that connected: the loser wrote nothing")
	_, err = completer.Complete(t.Context(), anAnswer(), decideEffect(completer, 7))
	require.NoError(t, err)
	require.Equal(t, 107, db.amount(t))
}
