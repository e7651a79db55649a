package idempotency_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// begin is the first commit of a charge: an effect of amount 0.
func (d *database) begin(ctx context.Context, call *idempotency.Call) (*idempotency.Attempt, idempotency.Outcome, error) {
	id := d.ResourceID(call, "effect")
	return d.BeginInsert(ctx, call, insertEffect, id, [16]byte(id), int64(0))
}

// mustBegin begins a charge that is the first of its key.
func (d *database) mustBegin(t testing.TB, call *idempotency.Call) *idempotency.Attempt {
	t.Helper()
	a, _, err := d.begin(t.Context(), call)
	require.NoError(t, err)
	require.NotNil(t, a)
	return a
}

// decideEffect is the business write of the second commit.
func decideEffect(a *idempotency.Attempt, amount int) func(*pgx.Batch) {
	return func(b *pgx.Batch) {
		b.Queue("UPDATE effects SET amount = amount + $2 WHERE id = $1", a.Resource, amount)
	}
}

func (d *database) amount(t testing.TB) int {
	return scalar[int](t, d, "SELECT sum(amount) FROM effects")
}

// takeOver is what a completer on another replica does when the lease is over.
func (d *database) takeOver(t testing.TB, call *idempotency.Call) *idempotency.Attempt {
	t.Helper()
	d.exec(t, "UPDATE idempotency_keys SET lease_until = now() - interval '1 second' WHERE NOT decided")
	d.exec(t, "UPDATE idempotency_opaque_keys SET lease_until = now() - interval '1 second' WHERE NOT decided")
	attempts, err := idempotency.TakeOver(t.Context(), d.Store, call.Method)
	require.NoError(t, err)
	require.Len(t, attempts, 1)
	return attempts[0]
}

func TestTwoCommitsHaveOneEffectAndOneAnswer(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		call := callWith(k)
		a := db.mustBegin(t, call)
		first, err := a.Complete(t.Context(), anAnswer(), decideEffect(a, 7))
		require.NoError(t, err)
		require.False(t, first.Replayed)

		a, second, err := db.begin(t.Context(), again(call))
		require.NoError(t, err)
		require.Nil(t, a)
		require.True(t, second.Replayed)
		require.Equal(t, first.Raw, second.Raw)
		require.Equal(t, 7, db.amount(t))
	})
}

func TestADuplicateOfAPendingRequestIsInFlight(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 20 * time.Millisecond })
		call := callWith(k)
		db.mustBegin(t, call)
		_, _, err := db.begin(t.Context(), again(call))
		requireReason(t, err, apierror.ReasonKeyInFlight)
	})
}

func TestADuplicateOfAPendingRequestGetsItsAnswerWhenItComes(t *testing.T) {
	db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 5 * time.Second })
	call := aCall()
	a := db.mustBegin(t, call)
	answer := make(chan idempotency.Outcome, 1)
	go func() {
		_, o, _ := db.begin(context.WithoutCancel(t.Context()), again(call))
		answer <- o
	}()
	first, err := a.Complete(t.Context(), anAnswer(), nil)
	require.NoError(t, err)
	require.Equal(t, first.Raw, (<-answer).Raw)
}

func TestASlowOwnerIsFencedAndGivesTheWinnersAnswer(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		slow := db.mustBegin(t, callWith(k))
		winner := db.takeOver(t, slow.Call)
		require.Equal(t, slow.Epoch+1, winner.Epoch)
		require.Equal(t, slow.Resource, winner.Resource)
		require.Equal(t, slow.Key, winner.Key)

		won, err := winner.Complete(t.Context(), anAnswer(), decideEffect(winner, 7))
		require.NoError(t, err)
		lost, err := slow.Complete(t.Context(), anAnswer(), decideEffect(slow, 100))
		require.NoError(t, err)
		require.Equal(t, won.Raw, lost.Raw)
		require.True(t, lost.Replayed)
		require.Equal(t, 7, db.amount(t), "the fenced owner wrote nothing")
	})
}

func TestAFencedOwnerKnowsNoOutcomeWhileTheWinnerIsAtWork(t *testing.T) {
	db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 20 * time.Millisecond })
	slow := db.mustBegin(t, aCall())
	db.takeOver(t, slow.Call)
	_, err := slow.Complete(t.Context(), anAnswer(), decideEffect(slow, 100))
	requireReason(t, err, apierror.ReasonOutcomeUnknown)
	_, err = slow.Seal(t.Context(), anAnswer())
	requireReason(t, err, apierror.ReasonOutcomeUnknown)
	require.Zero(t, db.amount(t))
}

func TestASealedAnswerStaysWhateverIsDecidedLater(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		owner := db.mustBegin(t, callWith(k))
		sealed, err := owner.Seal(t.Context(), anAnswer())
		require.NoError(t, err)

		a, replay, err := db.begin(t.Context(), again(owner.Call))
		require.NoError(t, err)
		require.Nil(t, a)
		require.Equal(t, sealed.Raw, replay.Raw)

		completer := db.takeOver(t, owner.Call)
		require.True(t, completer.Sealed)
		_, err = completer.Complete(t.Context(), anAnswer(), decideEffect(completer, 7))
		require.NoError(t, err)
		require.Equal(t, 7, db.amount(t))

		_, replay, err = db.begin(t.Context(), again(owner.Call))
		require.NoError(t, err)
		require.Equal(t, sealed.Raw, replay.Raw, "the completer changes the effect, never the answer")
	})
}

func TestSealingEndsTheLease(t *testing.T) {
	db := newDatabase(t)
	owner := db.mustBegin(t, aCall())
	_, err := owner.Seal(t.Context(), anAnswer())
	require.NoError(t, err)
	attempts, err := idempotency.TakeOver(t.Context(), db.Store, method)
	require.NoError(t, err)
	require.Len(t, attempts, 1, "the completer need not wait for who has answered and left")
}

func TestReleaseEndsTheLease(t *testing.T) {
	db := newDatabase(t)
	owner := db.mustBegin(t, aCall())
	attempts, err := idempotency.TakeOver(t.Context(), db.Store, method)
	require.NoError(t, err)
	require.Empty(t, attempts, "an owner within its lease is left alone")
	owner.Release(t.Context())
	attempts, err = idempotency.TakeOver(t.Context(), db.Store, method)
	require.NoError(t, err)
	require.Len(t, attempts, 1)
}

func TestAnOutcomeWhoseWriteMatchesNoRowIsNotStored(t *testing.T) {
	db := newDatabase(t)
	a := db.mustBegin(t, aCall())
	_, err := a.Complete(t.Context(), anAnswer(), func(b *pgx.Batch) {
		b.Queue("UPDATE effects SET amount = 7 WHERE id = $1", uuid.New())
	})
	require.ErrorContains(t, err, "matched no row")
	require.True(t, scalar[bool](t, db, "SELECT NOT decided AND response IS NULL FROM idempotency_keys"))
}

func TestTheOwnerOutlivesACallerThatGivesUp(t *testing.T) {
	db := newDatabase(t)
	gone, giveUp := context.WithCancel(t.Context())
	call := aCall()
	call.Timeout = 4 * time.Second
	a := db.mustBegin(t, call)
	giveUp()

	external, cancel := a.Context(gone)
	defer cancel()
	require.NoError(t, external.Err())
	deadline, ok := external.Deadline()
	require.True(t, ok)
	require.WithinDuration(t, call.Started.Add(4*time.Second-500*time.Millisecond), deadline, time.Millisecond,
		"the method's time, less what the second commit needs")

	_, err := a.Complete(gone, anAnswer(), decideEffect(a, 7))
	require.NoError(t, err)
	require.Equal(t, 7, db.amount(t))
}

func TestAnAttemptNeedsAnAnswerUnlessItIsSealed(t *testing.T) {
	db := newDatabase(t)
	a := db.mustBegin(t, aCall())
	_, err := a.Complete(t.Context(), nil, nil)
	require.ErrorContains(t, err, "needs an answer")
	sealed, err := a.Seal(t.Context(), anAnswer())
	require.NoError(t, err)
	o, err := a.Complete(t.Context(), nil, nil)
	require.NoError(t, err)
	require.Equal(t, sealed.Raw, o.Raw)
}

func TestBeginModifyLeavesTheKeyPendingOnlyWithoutAnAnswer(t *testing.T) {
	db := newDatabase(t)
	pending := func(amount int) idempotency.Modification {
		m := withdraw(amount)
		write := m.Write
		m.Write = func(b *pgx.Batch) (proto.Message, error) {
			_, err := write(b)
			return nil, err
		}
		return m
	}
	resource := uuid.New()
	call := aCall()
	a, _, err := db.BeginModify(t.Context(), call, resource, pending(100))
	require.NoError(t, err)
	require.Equal(t, resource, a.Resource)
	first, err := a.Complete(t.Context(), anAnswer(), nil)
	require.NoError(t, err)
	a, second, err := db.BeginModify(t.Context(), again(call), resource, pending(100))
	require.NoError(t, err)
	require.Nil(t, a)
	require.Equal(t, first.Raw, second.Raw)
	require.Equal(t, 900, db.balance(t))

	a, o, err := db.BeginModify(t.Context(), aCall(), resource, withdraw(100))
	require.NoError(t, err)
	require.Nil(t, a, "an answer at once needs no second commit")
	require.NotEmpty(t, o.Raw)
	require.Zero(t, scalar[int](t, db, "SELECT count(*) FROM idempotency_keys WHERE NOT decided"))
}

func TestChildKeysOfAPendingRequestSurviveARotatedSecret(t *testing.T) {
	db := newDatabase(t)
	owner := db.mustBegin(t, aCall())
	rotated := &database{pool: db.pool, Store: newStore(t, db.pool, func(c *idempotency.Config) {
		c.Secrets = secretV2 + "," + secretV1
	})}
	completer := rotated.takeOver(t, owner.Call)
	require.Equal(t, owner.Child("charge"), completer.Child("charge"))
	require.Equal(t, owner.ProviderKey("charge"), completer.ProviderKey("charge"))
	require.NotEqual(t, owner.Child("charge"), rotated.Deriver().Child(tenant, owner.Key, "charge"))
}
