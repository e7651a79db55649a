package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

var errTooPoor = errors.New("the balance is too low")

// withdraw takes an amount out of the wallet, deciding by a row that it locks.
func withdraw(amount int) idempotency.Modification {
	var balance int
	return idempotency.Modification{
		Read: func(b *pgx.Batch) {
			b.Queue("SELECT balance FROM accounts WHERE name = 'wallet' FOR UPDATE").QueryRow(func(row pgx.Row) error {
				return row.Scan(&balance)
			})
		},
		Write: func(b *pgx.Batch) (proto.Message, error) {
			if balance < amount {
				return nil, errTooPoor
			}
			b.Queue("UPDATE accounts SET balance = balance - $1 WHERE name = 'wallet'", amount)
			return anAnswer(), nil
		},
	}
}

func TestModifyHappensOnceAndAnswersTheSameBytes(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t)
		call := callWith(k)
		first, err := db.Modify(t.Context(), call, withdraw(100))
		require.NoError(t, err)
		require.False(t, first.Replayed)
		second, err := db.Modify(t.Context(), again(call), withdraw(100))
		require.NoError(t, err)
		require.True(t, second.Replayed)
		require.Equal(t, first.Raw, second.Raw)
		require.Equal(t, 900, db.balance(t))
	})
}

func TestAReplayOfAModificationReadsAndDecidesNothing(t *testing.T) {
	db := newDatabase(t)
	call := aCall()
	_, err := db.Modify(t.Context(), call, withdraw(1000))
	require.NoError(t, err)
	decided := withdraw(1000)
	decided.Write = func(*pgx.Batch) (proto.Message, error) {
		t.Error("decided again, by a state that has changed")
		return nil, errTooPoor
	}
	o, err := db.Modify(t.Context(), again(call), decided)
	require.NoError(t, err)
	require.True(t, o.Replayed)
}

func TestConcurrentDuplicatesOfAModificationHaveOneEffect(t *testing.T) {
	bothKinds(t, func(t *testing.T, k idempotency.Key) {
		db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 5 * time.Second })
		outcomes := race(t, 12, func(ctx context.Context) (idempotency.Outcome, error) {
			return db.Modify(ctx, callWith(k), withdraw(10))
		})
		for _, o := range outcomes {
			require.Equal(t, outcomes[0].Raw, o.Raw)
		}
		require.Equal(t, 990, db.balance(t))
	})
}

func TestModificationsOfOneRowByManyKeysLoseNothing(t *testing.T) {
	db := newDatabase(t)
	race(t, 12, func(ctx context.Context) (idempotency.Outcome, error) {
		return db.Modify(ctx, aCall(), withdraw(10))
	})
	require.Equal(t, 880, db.balance(t))
}

func TestARefusalByTheBusinessIsReturnedAsItIsAndNotStored(t *testing.T) {
	db := newDatabase(t)
	call := aCall()
	_, err := db.Modify(t.Context(), call, withdraw(1001))
	require.ErrorIs(t, err, errTooPoor)
	require.Zero(t, db.keys(t))

	db.exec(t, "UPDATE accounts SET balance = 2000")
	_, err = db.Modify(t.Context(), again(call), withdraw(1001))
	require.NoError(t, err, "the same key may succeed later")

	missing := withdraw(1)
	missing.Read = func(b *pgx.Batch) {
		b.Queue("SELECT balance FROM accounts WHERE name = 'nobody' FOR UPDATE").QueryRow(func(row pgx.Row) error {
			var balance int
			if err := row.Scan(&balance); errors.Is(err, pgx.ErrNoRows) {
				return errTooPoor
			} else if err != nil {
				return err
			}
			return nil
		})
	}
	_, err = db.Modify(t.Context(), aCall(), missing)
	require.ErrorIs(t, err, errTooPoor)
}

func TestAWriteThatMatchesNoRowIsRolledBackWithItsAnswer(t *testing.T) {
	for name, sql := range map[string]string{
		"a plain update":         "UPDATE accounts SET balance = 0 WHERE name = 'nobody'",
		"with a returning":       "UPDATE accounts SET balance = 0 WHERE name = 'nobody' RETURNING balance",
		"a CTE behind a SELECT":  "WITH u AS (DELETE FROM accounts WHERE name = 'nobody') SELECT 1",
		"a CTE before an INSERT": "WITH u AS (UPDATE accounts SET balance = 0 WHERE name = 'nobody') INSERT INTO effects VALUES (gen_random_uuid(), 1)",
	} {
		t.Run(name, func(t *testing.T) {
			db := newDatabase(t)
			m := withdraw(1)
			write := m.Write
			m.Write = func(b *pgx.Batch) (proto.Message, error) {
				answer, err := write(b)
				b.Queue(sql)
				return answer, err
			}
			_, err := db.Modify(t.Context(), aCall(), m)
			require.ErrorContains(t, err, "matched no row")
			require.Equal(t, 1000, db.balance(t))
			require.Zero(t, db.keys(t))
			require.Zero(t, db.effects(t))
			require.Zero(t, db.pool.Stat().AcquiredConns())
		})
	}
}

func TestAWriteMayBeMarkedToMatchNothing(t *testing.T) {
	db := newDatabase(t)
	m := withdraw(1)
	write := m.Write
	m.Write = func(b *pgx.Batch) (proto.Message, error) {
		b.Queue(idempotency.MayMatchNothing("DELETE FROM effects"))
		return write(b)
	}
	_, err := db.Modify(t.Context(), aCall(), m)
	require.NoError(t, err)
}

func TestAGuardedWriteStillReturnsItsRows(t *testing.T) {
	db := newDatabase(t)
	var balance int
	m := withdraw(1)
	m.Write = func(b *pgx.Batch) (proto.Message, error) {
		b.Queue("UPDATE accounts SET balance = balance - $1 RETURNING balance", 7).QueryRow(func(row pgx.Row) error {
			return row.Scan(&balance)
		})
		return anAnswer(), nil
	}
	_, err := db.Modify(t.Context(), aCall(), m)
	require.NoError(t, err)
	require.Equal(t, 993, balance)
}

func TestTheBusinessCannotEndTheTransaction(t *testing.T) {
	db := newDatabase(t)
	m := withdraw(1)
	m.Write = func(b *pgx.Batch) (proto.Message, error) {
		b.Queue("COMMIT")
		return anAnswer(), nil
	}
	_, err := db.Modify(t.Context(), aCall(), m)
	require.ErrorContains(t, err, "owns the transaction")
}

func TestACommitOfAFailedModificationIsNoSuccess(t *testing.T) {
	db := newDatabase(t)
	m := withdraw(1)
	write := m.Write
	m.Write = func(b *pgx.Batch) (proto.Message, error) {
		answer, err := write(b)
		b.Queue("INSERT INTO promises (id) VALUES (gen_random_uuid())") // fails at COMMIT
		return answer, err
	}
	_, err := db.Modify(t.Context(), aCall(), m)
	require.Error(t, err)
	require.Equal(t, 1000, db.balance(t))
	require.Zero(t, db.keys(t))
}

func TestADuplicateDoesNotQueueForTheRowsOfTheFirst(t *testing.T) {
	db := newDatabase(t, func(c *idempotency.Config) { c.Wait = 100 * time.Millisecond })
	call := aCall()
	release := holdKey(t, db, call)
	defer release()
	holder, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	defer holder.Rollback(t.Context())
	_, err = holder.Exec(t.Context(), "SELECT FROM accounts FOR UPDATE")
	require.NoError(t, err)

	_, err = db.Modify(t.Context(), again(call), withdraw(1))
	requireReason(t, err, apierror.ReasonKeyInFlight)
}

func TestAnExpiredKeyModifiesNothing(t *testing.T) {
	db := newDatabase(t)
	_, err := db.Modify(t.Context(), callWith(idempotency.NewKeyAt(time.Now().Add(-30*24*time.Hour))), withdraw(1))
	requireReason(t, err, apierror.ReasonKeyExpired)
	_, err = db.Modify(t.Context(), callWith(idempotency.NewKeyAt(time.Now().Add(time.Hour))), withdraw(1))
	requireReason(t, err, apierror.ReasonKeyFromFuture)
	require.Equal(t, 1000, db.balance(t))
}
