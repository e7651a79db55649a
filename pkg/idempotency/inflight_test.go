package idempotency_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func TestConcurrentDuplicatesHaveOneEffectAndOneAnswer(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		const racers = 12
		answers := race(t, racers, func(ctx context.Context) (idempotency.Outcome, error) {
			return db.Insert(ctx, callWith(k), insertEffect, anAnswer(), uuid.New(), int64(1))
		})
		fresh := 0
		for _, o := range answers {
			require.Equal(t, answers[0].Raw, o.Raw)
			if !o.Replayed {
				fresh++
			}
		}
		require.Equal(t, 1, fresh)
		require.Equal(t, 1, db.effects(t))
	})
}

// race starts n calls at once and returns their outcomes.
func race(t testing.TB, n int, call func(context.Context) (idempotency.Outcome, error)) []idempotency.Outcome {
	t.Helper()
	outcomes, errs := make([]idempotency.Outcome, n), make([]error, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		done.Go(func() {
			start.Wait()
			outcomes[i], errs[i] = call(t.Context())
		})
	}
	start.Done()
	done.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	return outcomes
}

// holdKey keeps the advisory lock of a key as a first arrival in the middle of
// its transaction does.
func holdKey(t *testing.T, db *database, c *idempotency.Call) (release func()) {
	t.Helper()
	tx, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", idempotency.AdvisoryLock(c.Tenant, c.Key))
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback(t.Context())) }
}

func TestADuplicateInFlightIsToldSoWithoutHoldingAConnection(t *testing.T) {
	db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 200 * time.Millisecond })
	call := aCall()
	release := holdKey(t, db, call)
	defer release()

	done := make(chan error, 40)
	for range cap(done) {
		go func() {
			_, err := db.charge(t.Context(), again(call))
			done <- err
		}()
	}
	for range cap(done) {
		requireReason(t, <-done, apierror.ReasonKeyInFlight)
	}
	require.EqualValues(t, 1, db.pool.Stat().AcquiredConns(), "only the first arrival has a connection")
	require.Zero(t, db.effects(t))
}

func TestADuplicateWaitsAMomentForTheFirst(t *testing.T) {
	db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 5 * time.Second })
	call := aCall()
	release := holdKey(t, db, call)
	done := make(chan error, 1)
	go func() {
		_, err := db.charge(t.Context(), again(call))
		done <- err
	}()
	require.Never(t, func() bool { return len(done) > 0 }, 50*time.Millisecond, 5*time.Millisecond)
	release() // the first one died without a commit
	require.NoError(t, <-done)
	require.Equal(t, 1, db.effects(t))
}
