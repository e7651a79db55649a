package idempotency_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Negative controls. Each takes out one safeguard and shows that the promise
// then breaks: a proof that cannot fail proves nothing.

func TestControlWithoutTheUniqueConstraintThereAreTwoEffects(t *testing.T) {
	db := newDatabase(t)
	db.exec(t, "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey")
	call := aCall()
	for range 2 {
		// Derived ids would mask the missing constraint, so they go too.
		_, err := db.Insert(t.Context(), again(call), insertEffect, anAnswer(), uuid.New(), int64(1))
		require.NoError(t, err)
	}
	require.Equal(t, 2, db.effects(t), "the control does not break the promise")

	t.Run("which derived ids still prevent", func(t *testing.T) {
		call := aCall()
		_, err := db.charge(t.Context(), call)
		require.NoError(t, err)
		_, err = db.charge(t.Context(), again(call))
		require.Error(t, err)
		require.Equal(t, 3, db.effects(t))
	})
}

func TestControlWithoutTheEpochASlowOwnerDoesItAgain(t *testing.T) {
	db := newDatabase(t)
	unfenced := &database{Store: db.WithoutEpoch(), pool: db.pool}
	slow := unfenced.mustBegin(t, aCall())
	winner := unfenced.takeOver(t, slow.Call)
	won, err := winner.Complete(t.Context(), anAnswer(), decideEffect(winner, 7))
	require.NoError(t, err)
	lost, err := slow.Complete(t.Context(), anAnswer(), decideEffect(slow, 100))
	require.NoError(t, err)
	require.NotEqual(t, won.Raw, lost.Raw, "the control does not break the promise")
	require.Equal(t, 107, db.amount(t), "the control does not break the promise")
}

func TestControlWithoutTheSealAnAnswerChanges(t *testing.T) {
	db := newDatabase(t)
	unsealed := &database{Store: db.WithoutSeal(), pool: db.pool}
	owner := unsealed.mustBegin(t, aCall())
	told, err := owner.Seal(t.Context(), anAnswer())
	require.NoError(t, err)
	completer := unsealed.takeOver(t, owner.Call)
	_, err = completer.Complete(t.Context(), anAnswer(), decideEffect(completer, 7))
	require.NoError(t, err)
	_, replay, err := unsealed.begin(t.Context(), again(owner.Call))
	require.NoError(t, err)
	require.NotEqual(t, told.Raw, replay.Raw, "the control does not break the promise")
}

func TestControlWithoutTheGateDuplicatesHoldConnections(t *testing.T) {
	// The gate only saves waiting. Without it a duplicate stands in line behind
	// the first one's uncommitted row, on a connection of its own.
	db := newDatabase(t)
	ungated := &database{Store: db.WithoutGate(), pool: db.pool}
	call := aCall()
	tx, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), `INSERT INTO idempotency_keys (key, op, fpv, secret, decided, sealed, tenant, method, fingerprint, response)
		VALUES ($1, gen_random_uuid(), 1, 1, TRUE, FALSE, $2, $3, $4, '')`, call.Key.String(), tenant, method, call.Fingerprint.Sum[:])
	require.NoError(t, err)

	const duplicates = 5
	done := make(chan error, duplicates)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range duplicates {
		go func() {
			_, err := ungated.charge(ctx, again(call))
			done <- err
		}()
	}
	eventually(t, "all duplicates hold a connection", func() bool { return db.pool.Stat().AcquiredConns() == duplicates+1 })
	require.NoError(t, tx.Commit(t.Context()))
	for range duplicates {
		require.NoError(t, <-done)
	}
	require.Zero(t, db.effects(t), "and still nothing happens twice")
}
