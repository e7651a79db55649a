package idempotency_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// traced begins a request and returns what the owner of the key knows of it.
func traced(t *testing.T, db *database, k idempotency.Key) (*idempotency.Attempt, string) {
	t.Helper()
	a := db.mustBegin(t, callWith(k))
	return a, a.ProviderKey("charge")
}

func TestATraceLeadsFromAResourceToWhatWasAskedOutside(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		a, want := traced(t, db, k)
		trace, found, err := db.Beginning(t.Context(), tenant, a.Resource)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, want, trace.ProviderKey("charge"))
		require.Equal(t, method, trace.Method)

		tx, err := db.pool.Begin(t.Context())
		require.NoError(t, err)
		defer tx.Rollback(context.WithoutCancel(t.Context()))
		open, err := db.UndecidedOf(t.Context(), tx, []uuid.UUID{a.Resource, uuid.New()})
		require.NoError(t, err)
		require.Len(t, open, 1)
		require.Equal(t, want, open[0].ProviderKey("charge"))

		_, found, err = db.Beginning(t.Context(), "globex", a.Resource)
		require.NoError(t, err)
		require.False(t, found, "of another tenant")

		_, err = a.Complete(t.Context(), anAnswer(), decideEffect(a, 1))
		require.NoError(t, err)
		decided, found, err := db.Beginning(t.Context(), tenant, a.Resource)
		require.NoError(t, err)
		require.True(t, found, "also when it is decided")
		require.Equal(t, want, decided.ProviderKey("charge"))
		left, err := db.UndecidedBefore(t.Context(), time.Now().Add(time.Hour), idempotency.Trace{}, 10)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestUndecidedKeysAreListedByAgeAndPage(t *testing.T) {
	db := newDatabase(t)
	var want []uuid.UUID
	for i := range 5 {
		k := idempotency.NewKey()
		if i%2 == 0 {
			k = key(t, "opaque-"+uuid.NewString())
		}
		a, _ := traced(t, db, k)
		want = append(want, a.Resource)
	}
	var got []uuid.UUID
	var last idempotency.Trace
	for {
		page, err := db.UndecidedBefore(t.Context(), time.Now().Add(time.Hour), last, 2)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, trace := range page {
			got = append(got, trace.Resource)
		}
		last = page[len(page)-1]
	}
	require.Equal(t, want, got)
	young, err := db.UndecidedBefore(t.Context(), time.Now().Add(-time.Hour), idempotency.Trace{}, 10)
	require.NoError(t, err)
	require.Empty(t, young)
}

func TestAHastenedKeyIsTakenOverAtOnceAndItsOwnerIsFenced(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		slow, _ := traced(t, db, k)
		db.exec(t, `UPDATE `+tableOf(k)+` SET lease_until = now() + interval '1 hour'`)
		runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
			_, err := a.Complete(ctx, anAnswer(), decideEffect(a, 7))
			return err
		})
		require.Never(t, func() bool { return db.undecided(t) == 0 }, 200*time.Millisecond, 20*time.Millisecond, "it is owned")
		require.NoError(t, db.Hasten(t.Context(), slow.Resource))
		eventually(t, "decided", func() bool { return db.undecided(t) == 0 })

		outcome, err := slow.Complete(t.Context(), anAnswer(), decideEffect(slow, 1))
		require.NoError(t, err)
		require.True(t, outcome.Replayed)
		require.Equal(t, 7, db.amount(t), "what the owner still wrote matched no row")
	})
}

func tableOf(k idempotency.Key) string {
	if _, timed := k.Minted(); timed {
		return "idempotency_keys"
	}
	return "idempotency_opaque_keys"
}
