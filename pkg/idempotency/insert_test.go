package idempotency_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// bothKinds runs a test with a key of each kind: they live in different tables
// and owe the same promise.
func bothKinds(t *testing.T, test func(t *testing.T, k idempotency.Key)) {
	t.Run("UUIDv7", func(t *testing.T) { test(t, idempotency.NewKey()) })
	t.Run("opaque", func(t *testing.T) { test(t, key(t, "order-"+uuid.NewString())) })
}

func requireReason(t testing.TB, err error, want apierror.Reason) {
	t.Helper()
	require.Error(t, err)
	got, ok := apierror.ReasonOf(err)
	require.True(t, ok, "not a typed error: %v", err)
	require.Equal(t, want, got, "%v", err)
}

func TestInsertHappensOnceAndAnswersTheSameBytes(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		call := callWith(k)
		first, err := db.charge(t.Context(), call)
		require.NoError(t, err)
		require.False(t, first.Replayed)

		for range 3 {
			repeat, err := db.charge(t.Context(), again(call))
			require.NoError(t, err)
			require.True(t, repeat.Replayed)
			require.Equal(t, first.Raw, repeat.Raw)
		}
		require.Equal(t, 1, db.effects(t))

		var answer paymentsv1.ChargePaymentResponse
		require.NoError(t, first.Into(&answer))
		require.Equal(t, paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED, answer.GetPayment().GetState())
	})
}

func TestAnEmptyAnswerIsAnAnswer(t *testing.T) {
	db := newDatabase(t)
	call := aCall()
	for range 2 {
		o, err := db.Insert(t.Context(), again(call), insertEffect, &paymentsv1.ChargePaymentResponse{}, uuid.New(), int64(1))
		require.NoError(t, err)
		require.Empty(t, o.Raw)
	}
	require.Equal(t, 1, db.effects(t))
}

func TestOneKeyOfTwoTenantsIsTwoKeys(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		ours, err := db.charge(t.Context(), idempotency.NewCall("acme", k, method, aRequest()))
		require.NoError(t, err)
		theirs, err := db.charge(t.Context(), idempotency.NewCall("globex", k, method, aRequest()))
		require.NoError(t, err)
		require.False(t, theirs.Replayed)
		require.NotEqual(t, ours.Raw, theirs.Raw)
		require.Equal(t, 2, db.effects(t))
	})
}

func TestAKeyUsedForSomethingElseIsRefusedAndTellsNothing(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		_, err := db.charge(t.Context(), callWith(k))
		require.NoError(t, err)

		mutated := aRequest()
		mutated.Amount.Units++
		for name, call := range map[string]*idempotency.Call{
			"another payload": idempotency.NewCall(tenant, k, method, mutated),
			"another method":  idempotency.NewCall(tenant, k, method+"2", aRequest()),
		} {
			_, err = db.charge(t.Context(), call)
			requireReason(t, err, apierror.ReasonKeyReused)
			require.NotContains(t, err.Error(), "order-1", name)
		}
		require.Equal(t, 1, db.effects(t))
	})
}

func TestAnExpiredKeyIsRefusedAndNeverExecutedAgain(t *testing.T) {
	t.Run("its row is still there", func(t *testing.T) {
		db := newDatabase(t)
		call := aCall()
		_, err := db.charge(t.Context(), call)
		require.NoError(t, err)
		later := &database{Store: newStore(t, db.pool, retainFor(time.Minute)), pool: db.pool}
		old := callWith(idempotency.NewKeyAt(time.Now().Add(-2 * time.Minute)))
		_, err = db.charge(t.Context(), old)
		require.NoError(t, err)
		_, err = later.charge(t.Context(), again(old))
		requireReason(t, err, apierror.ReasonKeyExpired)
		require.Equal(t, 2, db.effects(t))
	})
	t.Run("its partition was dropped", func(t *testing.T) {
		db := newDatabase(t)
		_, err := db.charge(t.Context(), callWith(idempotency.NewKeyAt(time.Now().Add(-30*24*time.Hour))))
		requireReason(t, err, apierror.ReasonKeyExpired)
		require.Zero(t, db.effects(t))
	})
	t.Run("an opaque key counts from its first use", func(t *testing.T) {
		db := newDatabase(t)
		call := callWith(key(t, "my-key"))
		_, err := db.charge(t.Context(), call)
		require.NoError(t, err)
		db.exec(t, "UPDATE idempotency_opaque_keys SET create_time = now() - interval '25 hours'")
		_, err = db.charge(t.Context(), again(call))
		requireReason(t, err, apierror.ReasonKeyExpired)

		require.NoError(t, db.Maintain(t.Context()))
		require.True(t, scalar[bool](t, db, "SELECT response IS NULL AND fingerprint IS NULL FROM idempotency_opaque_keys"), "a tombstone keeps no answer")
		_, err = db.charge(t.Context(), again(call))
		requireReason(t, err, apierror.ReasonKeyExpired)
		require.Equal(t, 1, db.effects(t))
	})
}

func retainFor(d time.Duration) func(*idempotency.Config) {
	return func(c *idempotency.Config) { c.Retention = d }
}

func TestAKeyFromTheFutureIsRefused(t *testing.T) {
	db := newDatabase(t)
	_, err := db.charge(t.Context(), callWith(idempotency.NewKeyAt(time.Now().Add(6*time.Minute))))
	requireReason(t, err, apierror.ReasonKeyFromFuture)
	require.Zero(t, db.effects(t))

	_, err = db.charge(t.Context(), callWith(idempotency.NewKeyAt(time.Now().Add(4*time.Minute))))
	require.NoError(t, err, "clocks may differ by some minutes")
}

func TestAMissingPartitionIsAnOutageAndNotAnExpiry(t *testing.T) {
	db := newDatabase(t)
	today := "idempotency_keys_" + time.Now().UTC().Format("20060102")
	db.exec(t, "ALTER TABLE idempotency_keys DETACH PARTITION "+today)
	db.exec(t, "DROP TABLE "+today)

	call := aCall()
	_, err := db.charge(t.Context(), call)
	requireReason(t, err, apierror.ReasonDependencyUnavailable)
	require.Zero(t, db.effects(t))

	require.NoError(t, db.Maintain(t.Context()))
	_, err = db.charge(t.Context(), again(call))
	require.NoError(t, err, "the same key works when the partition is back")
}

func TestTheCommitIsKnownOnlyWhenTheBatchIsClosed(t *testing.T) {
	db := newDatabase(t)
	promise := idempotency.Compile(`INSERT INTO promises (id) SELECT $1 FROM claimed`)
	call := aCall()
	_, err := db.Insert(t.Context(), call, promise, anAnswer(), uuid.New())
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg, "the deferred constraint fails at commit, after every result was fine")
	require.Equal(t, "23503", pg.Code)
	require.Zero(t, db.keys(t), "no answer may be stored for a write that did not happen")
}

func TestAViolatedConstraintIsLeftToTheBusiness(t *testing.T) {
	db := newDatabase(t)
	id := uuid.New()
	_, err := db.Insert(t.Context(), aCall(), insertEffect, anAnswer(), id, int64(1))
	require.NoError(t, err)
	_, err = db.Insert(t.Context(), aCall(), insertEffect, anAnswer(), id, int64(1))
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "effects", pg.TableName)
	require.Equal(t, 1, db.keys(t))
}

func TestAChainedWriteThatMatchesNothingStoresNoAnswer(t *testing.T) {
	db := newDatabase(t)
	for name, sql := range map[string]string{
		"an insert of no rows": `INSERT INTO effects (id, amount) SELECT $1, 1 FROM claimed, accounts WHERE name = 'nobody'`,
		"an update":            `u AS (UPDATE accounts SET balance = 1 FROM claimed WHERE name = $1::uuid::text)`,
		"the second of two": `e AS (INSERT INTO effects (id, amount) SELECT $1, 1 FROM claimed RETURNING id),
		                      p AS (INSERT INTO parts (effect, name) SELECT e.id, name FROM e, accounts WHERE balance < 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := db.Insert(t.Context(), aCall(), idempotency.Compile(sql), anAnswer(), uuid.New())
			require.ErrorContains(t, err, "matched no row")
			require.Zero(t, db.keys(t))
			require.Zero(t, db.effects(t))
		})
	}
}

func TestSeveralInsertsAreOneStatement(t *testing.T) {
	db := newDatabase(t)
	st := idempotency.Compile(`e AS (INSERT INTO effects (id, amount) SELECT $1, $2 FROM claimed RETURNING id),
		p AS (INSERT INTO parts (effect, name) SELECT e.id, n FROM e, unnest($3::text[]) n)`)
	call := aCall()
	for range 2 {
		_, err := db.Insert(t.Context(), again(call), st, anAnswer(), uuid.New(), int64(5), []string{"a", "b"})
		require.NoError(t, err)
	}
	require.Equal(t, 1, db.effects(t))
	require.Equal(t, 2, scalar[int](t, db, "SELECT count(*) FROM parts"))
}

func TestABugInTheParametersIsNotAnUnknownOutcome(t *testing.T) {
	db := newDatabase(t)
	_, err := db.Insert(t.Context(), aCall(), insertEffect, anAnswer(), "not a uuid", int64(1))
	require.Error(t, err)
	_, typed := apierror.ReasonOf(err)
	require.False(t, typed, "a bug is for the edge to call INTERNAL: %v", err)
	require.Zero(t, db.keys(t))
}

func TestDerivedIDsDeduplicateEvenWithoutTheKey(t *testing.T) {
	db := newDatabase(t)
	call := aCall()
	_, err := db.charge(t.Context(), call)
	require.NoError(t, err)
	db.exec(t, "DELETE FROM idempotency_keys") // as a restore from backup can
	_, err = db.charge(t.Context(), again(call))
	require.Error(t, err)
	require.Equal(t, 1, db.effects(t))
}

// A key that was minted some time ago is looked up before anything is claimed.
// Whatever that finds, the answers are those of any other key.
func TestALateRequestIsTreatedLikeAnyOther(t *testing.T) {
	db := newDatabase(t)
	late := func() *idempotency.Call { return callWith(idempotency.NewKeyAt(time.Now().Add(-time.Minute))) }

	call := late()
	first, err := db.charge(t.Context(), call)
	require.NoError(t, err)
	require.False(t, first.Replayed, "the first arrival may be late, too")
	repeat, err := db.charge(t.Context(), again(call))
	require.NoError(t, err)
	require.True(t, repeat.Replayed)
	require.Equal(t, first.Raw, repeat.Raw)

	other := aRequest()
	other.Reference = "order-2"
	_, err = db.charge(t.Context(), idempotency.NewCall(tenant, call.Key, method, other))
	requireReason(t, err, apierror.ReasonKeyReused)
	require.Equal(t, 1, db.effects(t))

	// The look-up names the partition of the key's day; without it the key is
	// for the claim to judge.
	db.exec(t, "ALTER TABLE idempotency_keys DETACH PARTITION idempotency_keys_"+time.Now().UTC().Add(-time.Minute).Format("20060102"))
	db.exec(t, "DROP TABLE idempotency_keys_"+time.Now().UTC().Add(-time.Minute).Format("20060102"))
	_, err = db.charge(t.Context(), again(call))
	requireReason(t, err, apierror.ReasonDependencyUnavailable)
}
