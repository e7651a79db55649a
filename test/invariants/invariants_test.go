package invariants_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/invariants"
)

func TestAWorldInWhichAllIsWellViolatesNothing(t *testing.T) {
	result := goodWorld(t).check(t)
	require.Empty(t, result.Violations)
	require.Equal(t, invariants.Audited{Orders: 3, Payments: 3, Entries: 3, Operations: 4, Attempts: 6}, result.Audited)
}

func TestACaptureInPartViolatesNothing(t *testing.T) {
	w := goodWorld(t)
	capturedInPart(t, w)
	require.Empty(t, w.check(t).Violations)
}

// The controls of the checker: the good world, spoiled by hand in one place.
// Where a constraint of the schema would have prevented it, the constraint is
// taken away first.
func TestEachInvariantIsSeenViolated(t *testing.T) {
	for _, test := range []struct {
		name      string
		invariant int
		subject   string
		text      string
		spoil     func(*testing.T, *world)
	}{
		{
			"the processor charged a payment twice", 1, "payment " + paidPayment, "opened 2 charges",
			func(_ *testing.T, w *world) {
				w.operations = append(w.operations, operation{5, "p5", "charge", "ch_5", paidPayment, 500, "USD", "succeeded"})
			},
		},
		{
			"the processor took money that payments does not know of", 1, "payment " + declinedPayment, "the processor holds 300, payments believes 0",
			func(_ *testing.T, w *world) { w.operations[1].Status = "succeeded" },
		},
		{
			"the processor has a charge of no payment", 1, "payment nobody's", "payments does not know it",
			func(_ *testing.T, w *world) {
				w.operations = append(w.operations, operation{5, "p5", "charge", "ch_5", "nobody's", 1, "USD", "succeeded"})
			},
		},
		{
			"an order is paid and nothing was taken", 1, "order " + declinedOrder, "its total is 300, the processor holds 0",
			func(t *testing.T, w *world) {
				run(t, w.orders, `UPDATE orders SET state = 'PAID' WHERE id = '`+declinedOrder+`'`)
				w.history[2].State = "PENDING_PAYMENT"
			},
		},
		{
			"an order failed and its money was taken", 1, "order " + paidOrder, "it is in PAYMENT_FAILED and the processor holds 500",
			func(t *testing.T, w *world) {
				run(t, w.orders, `UPDATE orders SET state = 'PAYMENT_FAILED' WHERE id = '`+paidOrder+`'`)
				w.history = nil
			},
		},
		{
			"an order is cancelled and its money was not given back", 1, "order " + paidOrder, "it is in CANCELLED and the processor holds 500",
			func(t *testing.T, w *world) {
				run(t, w.orders, `UPDATE orders SET state = 'CANCELLED' WHERE id = '`+paidOrder+`'`)
			},
		},
		{
			"an acknowledged order is gone", 2, "key k2", "is not there",
			func(t *testing.T, w *world) {
				run(t, w.orders, `DELETE FROM orders WHERE id = '`+declinedOrder+`'`)
			},
		},
		{
			"an acknowledged payment was taken back", 2, "key k1", "was acknowledged as PAID and is PAYMENT_FAILED",
			func(t *testing.T, w *world) {
				run(t, w.orders, `UPDATE orders SET state = 'PAYMENT_FAILED' WHERE id = '`+paidOrder+`'`)
			},
		},
		{
			"a replay has other bytes", 2, "key k1", "two OK answers in proto differ",
			func(_ *testing.T, w *world) { w.history[1].Body = []byte("One") },
		},
		{
			"a key was answered with two orders", 2, "key k1", "answered with two orders",
			func(_ *testing.T, w *world) {
				w.history[1].Order, w.history[1].State = uuid.MustParse(cancelledOrder), "CANCELLED"
			},
		},
		{
			"an entry goes nowhere", 3, "payment " + paidPayment, "does not balance",
			func(t *testing.T, w *world) {
				run(t, w.payments, `ALTER TABLE ledger_entries DISABLE TRIGGER USER; UPDATE ledger_entries SET debit = 'nowhere' WHERE payment_id = '`+paidPayment+`'`)
			},
		},
		{
			"a capture is missing in the ledger", 3, "payment " + paidPayment, "the ledger has 0 captured",
			func(t *testing.T, w *world) {
				run(t, w.payments, `ALTER TABLE ledger_entries DISABLE TRIGGER USER; DELETE FROM ledger_entries WHERE payment_id = '`+paidPayment+`'`)
			},
		},
		{
			"more was refunded than captured", 3, "payment " + cancelledPayment, "more was refunded than captured: 900 of 700",
			func(t *testing.T, w *world) {
				run(t, w.payments, `ALTER TABLE payments DROP CONSTRAINT payments_check, DROP CONSTRAINT payments_check1`)
				run(t, w.payments, `UPDATE payments SET refunded = 900 WHERE id = '`+cancelledPayment+`'`)
			},
		},
		{
			"more was captured than authorized", 3, "payment " + paidPayment, "more was captured than asked for: 500 of 400",
			func(t *testing.T, w *world) {
				run(t, w.payments, `ALTER TABLE payments DROP CONSTRAINT payments_check`)
				run(t, w.payments, `UPDATE payments SET amount = 400 WHERE id = '`+paidPayment+`'`)
			},
		},
		{
			"a capture in part was taken whole by the processor", 1, "payment " + partPayment, "the processor holds 850, payments believes 450",
			func(t *testing.T, w *world) {
				capturedInPart(t, w)
				w.operations[len(w.operations)-2].Amount = 1000
			},
		},
		{
			"a capture in part is given back whole", 3, "payment " + partPayment, "the ledger has 600 captured and 1000 refunded",
			func(t *testing.T, w *world) {
				capturedInPart(t, w)
				run(t, w.payments, `ALTER TABLE ledger_entries DISABLE TRIGGER USER; UPDATE ledger_entries SET amount = 1000 WHERE kind = 'refund' AND payment_id = '`+partPayment+`'`)
			},
		},
		{
			"an order hangs", 4, "order " + declinedOrder, "PENDING_PAYMENT",
			func(t *testing.T, w *world) {
				run(t, w.orders, `UPDATE orders SET state = 'PENDING_PAYMENT', update_time = now() - interval '1 minute' WHERE id = '`+declinedOrder+`'`)
				w.history[2].State = "PENDING_PAYMENT"
			},
		},
		{
			"a payment hangs", 4, "payment " + paidPayment, "an operation on it has been open",
			func(t *testing.T, w *world) {
				run(t, w.payments, `UPDATE payments SET open_operation = 'refund', open_amount = 1, open_since = now(), update_time = now() - interval '1 minute' WHERE id = '`+paidPayment+`'`)
			},
		},
		{
			"a key hangs", 4, "key left behind", "undecided in payments",
			func(t *testing.T, w *world) {
				run(t, w.payments, `INSERT INTO idempotency_opaque_keys (op, key, tenant, method, fpv, secret, decided, sealed, create_time)
					VALUES (gen_random_uuid(), 'left behind', 'acme', '/m', 1, 1, false, false, now() - interval '1 minute')`)
			},
		},
		{
			"a refused key placed an order", 5, "key k1", "refused with KEY_REUSED, and order " + declinedOrder + " carries its note",
			func(t *testing.T, w *world) {
				run(t, w.orders, `UPDATE orders SET shipping_note = 'note of a reused key' WHERE id = '`+declinedOrder+`'`)
			},
		},
		{
			"an expired key placed an order", 5, "key k5", "refused with KEY_EXPIRED",
			func(_ *testing.T, w *world) {
				w.history = append(w.history, invariants.Attempt{Key: "k5", Marker: "note 1", Refusal: "KEY_EXPIRED"})
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := goodWorld(t)
			test.spoil(t, w)
			result := w.check(t)
			for _, violation := range result.Violations {
				if violation.Invariant == test.invariant && violation.Subject == test.subject && strings.Contains(violation.Text, test.text) {
					require.NotEmpty(t, violation.History, "a violation is told with its history")
					return
				}
			}
			require.Failf(t, "not found", "want invariant %d, %s: …%s…; got %v", test.invariant, test.subject, test.text, result.Violations)
		})
	}
}

func TestAViolationTellsAllThatIsKnownOfTheKey(t *testing.T) {
	w := goodWorld(t)
	w.history[1].Body = []byte("other")
	result := w.check(t)
	require.Len(t, result.Violations, 1)
	story := result.Violations[0].String()
	for _, part := range []string{
		"invariant 2, key k1",
		"OK, order " + paidOrder,
		"OK (replayed), order " + paidOrder,
		"refused: KEY_REUSED",
		"orders: order " + paidOrder + " is PAID",
		"payments: payment " + paidPayment + " is captured",
		"ledger: capture of 500 USD from processor:USD to tenant:acme:USD",
		"processor: #1 charge of 500 USD on ch_1, succeeded",
	} {
		require.Contains(t, story, part)
	}
	require.NotContains(t, story, cancelledOrder, "other keys are not dragged in")
}

func TestUndecidedWithinTheBoundIsNoViolation(t *testing.T) {
	w := goodWorld(t)
	run(t, w.orders, `UPDATE orders SET state = 'PENDING_PAYMENT', update_time = now() WHERE id = '`+declinedOrder+`'`)
	w.history[2].State = "PENDING_PAYMENT"
	require.Empty(t, w.check(t).Violations)
}

func TestQuiescenceIsAwaitedUntilTheLastOrderIsDecided(t *testing.T) {
	w := goodWorld(t)
	run(t, w.orders, `UPDATE orders SET state = 'CANCELLING' WHERE id = '`+cancelledOrder+`'`)
	sources := w.sources(t)

	bounded, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	require.NoError(t, invariants.AwaitQuiescence(bounded, sources))
	require.Error(t, bounded.Err(), "it gave up only because its time was over")

	run(t, w.orders, `UPDATE orders SET state = 'CANCELLED' WHERE id = '`+cancelledOrder+`'`)
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, invariants.AwaitQuiescence(patient, sources))
	require.NoError(t, patient.Err())
}
