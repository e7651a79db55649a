package idempotency_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

type handler = func(context.Context, *idempotency.Attempt) error

// runCompleter runs a completer until the test ends.
func runCompleter(t testing.TB, s *idempotency.Store, h handler, opts ...idempotency.CompleterOption) *idempotency.Completer {
	t.Helper()
	opts = append([]idempotency.CompleterOption{idempotency.WithInterval(20 * time.Millisecond)}, opts...)
	c := idempotency.NewCompleter(s, map[string]handler{method: h}, opts...)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the completer ended in %v", err)
		}
	})
	return c
}

func (d *database) undecided(t testing.TB) int {
	return scalar[int](t, d, `SELECT (SELECT count(*) FROM idempotency_keys WHERE NOT decided)
		+ (SELECT count(*) FROM idempotency_opaque_keys WHERE NOT decided)`)
}

func TestTheCompleterFinishesWhatACrashLeftOpen(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		call := callWith(k)
		db.mustBegin(t, call).Release(t.Context()) // crashed, and the lease is over
		runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
			_, err := a.Complete(ctx, anAnswer(), decideEffect(a, 7))
			return err
		})
		eventually(t, "decided", func() bool { return db.undecided(t) == 0 })
		require.Equal(t, 7, db.amount(t))
		_, replay, err := db.begin(t.Context(), again(call))
		require.NoError(t, err)
		require.True(t, replay.Replayed)
	})
}

func TestManyCompletersDecideEachKeyOnce(t *testing.T) {
	db := newDatabase(t)
	const keys = 30
	for range keys {
		db.mustBegin(t, aCall()).Release(t.Context())
	}
	for range 3 {
		runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
			_, err := a.Complete(ctx, anAnswer(), decideEffect(a, 1))
			return err
		})
	}
	eventually(t, "all decided", func() bool { return db.undecided(t) == 0 })
	require.Equal(t, keys, db.amount(t))
}

// TestKeysDoNotWaitForEachOther: one whose dependency takes long must not hold up
// the others, or what an outage left open is still open long after it.
func TestKeysDoNotWaitForEachOther(t *testing.T) {
	db := newDatabase(t)
	const keys = 12
	for range keys {
		db.mustBegin(t, aCall()).Release(t.Context())
	}
	slow := make(chan struct{})
	var began atomic.Int64
	runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
		if began.Add(1) == 1 {
			select {
			case <-slow:
			case <-ctx.Done():
				t.Error("the others did not get on while one was slow")
			}
		}
		_, err := a.Complete(ctx, anAnswer(), decideEffect(a, 1))
		return err
	}, idempotency.WithWorkers(2))
	eventually(t, "all but the slow one decided", func() bool { return db.undecided(t) == 1 })
	close(slow)
	eventually(t, "the slow one, too", func() bool { return db.undecided(t) == 0 })
	require.Equal(t, keys, db.amount(t))
}

func TestSettingsOfACompleterThatCouldNotWorkAreReportedAtOnce(t *testing.T) {
	_, err := config.Load[idempotency.CompleterConfig](map[string]string{
		"HOLDFAST_COMPLETER_INTERVAL": "0s", "HOLDFAST_COMPLETER_MAX_PAUSE": "-1s", "HOLDFAST_COMPLETER_WORKERS": "0",
	})
	for _, name := range []string{"HOLDFAST_COMPLETER_INTERVAL is 0s", "HOLDFAST_COMPLETER_MAX_PAUSE is -1s", "HOLDFAST_COMPLETER_WORKERS is 0"} {
		require.ErrorContains(t, err, name)
	}
}

func TestAKeyThatCannotBeCompletedYetIsTriedAgain(t *testing.T) {
	db := newDatabase(t)
	db.mustBegin(t, aCall()).Release(t.Context())
	var tries atomic.Int64
	runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
		switch tries.Add(1) {
		case 1:
			return errors.New("the processor is down")
		case 2:
			panic("poison")
		case 3:
			return nil // not decided, and not said so
		}
		_, err := a.Complete(ctx, anAnswer(), decideEffect(a, 7))
		return err
	}, idempotency.WithMaxPause(20*time.Millisecond))
	eventually(t, "decided", func() bool { return db.undecided(t) == 0 })
	require.EqualValues(t, 4, tries.Load())
	require.Equal(t, 7, db.amount(t))
}

func TestKeysOfOtherMethodsAreLeftToWhoKnowsThem(t *testing.T) {
	db := newDatabase(t)
	foreign := idempotency.NewCall(tenant, idempotency.NewKey(), method+"OfANewerRelease", aRequest())
	db.mustBegin(t, foreign).Release(t.Context())
	attempts, err := idempotency.TakeOver(t.Context(), db.Store, method)
	require.NoError(t, err)
	require.Empty(t, attempts)
}

func TestAModificationWithFollowUpWorkIsAnsweredAtOnceAndCompletedLater(t *testing.T) {
	db := newDatabase(t)
	call := aCall()
	m := withdraw(100)
	m.Undecided, m.Resource = true, db.ResourceID(call, "refund")
	first, err := db.Modify(t.Context(), call, m)
	require.NoError(t, err)
	require.Equal(t, 1, db.undecided(t))

	resources := make(chan string, 1)
	c := runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
		resources <- a.Resource.String()
		require.True(t, a.Sealed)
		_, err := a.Complete(ctx, nil, func(b *pgx.Batch) { b.Queue("UPDATE accounts SET balance = balance + 1") })
		return err
	}, idempotency.WithInterval(time.Minute))
	c.Nudge()
	require.Equal(t, m.Resource.String(), <-resources)
	eventually(t, "decided", func() bool { return db.undecided(t) == 0 })

	second, err := db.Modify(t.Context(), again(call), m)
	require.NoError(t, err)
	require.Equal(t, first.Raw, second.Raw)
	require.Equal(t, 901, db.balance(t))
}

func TestFollowUpIsDecidedByWhatWasWritten(t *testing.T) {
	db := newDatabase(t)
	m := withdraw(100)
	owes := true
	m.Undecided, m.FollowUp = true, func() bool { return owes }
	write := m.Write
	m.Write = func(b *pgx.Batch) (proto.Message, error) {
		owes = false
		return write(b)
	}
	_, err := db.Modify(t.Context(), aCall(), m)
	require.NoError(t, err)
	require.Zero(t, db.undecided(t))
}

func TestACompleterThatIsStoppedFinishesTheKeyItHas(t *testing.T) {
	db := newDatabase(t)
	db.mustBegin(t, aCall()).Release(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	c := idempotency.NewCompleter(db.Store, map[string]handler{method: func(ctx context.Context, a *idempotency.Attempt) error {
		stop()
		require.NoError(t, ctx.Err())
		_, err := a.Complete(ctx, anAnswer(), decideEffect(a, 7))
		return err
	}})
	require.NoError(t, c.Run(ctx))
	require.Zero(t, db.undecided(t))
}
