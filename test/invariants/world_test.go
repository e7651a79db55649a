package invariants_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	orders "github.com/holdfast-dev/holdfast/services/orders/migrations"
	payments "github.com/holdfast-dev/holdfast/services/payments/migrations"
	"github.com/holdfast-dev/holdfast/test/invariants"
)

// The orders and payments of the good world. Payment and order of a purchase
// differ in their last digit.
const (
	paidOrder, paidPayment           = "01990000-0000-7000-8000-000000000010", "01990000-0000-7000-8000-000000000011"
	declinedOrder, declinedPayment   = "01990000-0000-7000-8000-000000000020", "01990000-0000-7000-8000-000000000021"
	cancelledOrder, cancelledPayment = "01990000-0000-7000-8000-000000000030", "01990000-0000-7000-8000-000000000031"
)

// goodOrders and goodPayments are what services write for three purchases: one
// paid, one declined, one cancelled and given back.
const goodOrders = `
INSERT INTO orders (id, tenant, state, version, currency, total, payment_method, charge_key, payment_id, shipping_note, create_time, update_time)
VALUES
    ('` + paidOrder + `',      'acme', 'PAID',           2, 'USD', 500, 'pm_card_ok',       'charge-1', '` + paidPayment + `',      'note 1', now(), now()),
    ('` + declinedOrder + `',  'acme', 'PAYMENT_FAILED', 2, 'USD', 300, 'pm_card_declined', 'charge-2', '` + declinedPayment + `',  'note 2', now(), now()),
    ('` + cancelledOrder + `', 'acme', 'CANCELLED',      4, 'USD', 700, 'pm_card_ok',       'charge-3', '` + cancelledPayment + `', 'note 3', now(), now())`

const goodPayments = `
INSERT INTO payments (id, tenant, reference, payment_method, currency, amount, state, captured, refunded, create_time, update_time)
VALUES
    ('` + paidPayment + `',      'acme', '` + paidOrder + `',      'pm_card_ok',       'USD', 500, 'captured', 500,   0, now(), now()),
    ('` + declinedPayment + `',  'acme', '` + declinedOrder + `',  'pm_card_declined', 'USD', 300, 'declined',   0,   0, now(), now()),
    ('` + cancelledPayment + `', 'acme', '` + cancelledOrder + `', 'pm_card_ok',       'USD', 700, 'refunded', 700, 700, now(), now());
INSERT INTO ledger_entries (payment_id, processor_key, tenant, kind, debit, credit, currency, amount, create_time)
VALUES
    ('` + paidPayment + `',      'p1', 'acme', 'capture', 'processor:USD',   'tenant:acme:USD', 'USD', 500, now()),
    ('` + cancelledPayment + `', 'p3', 'acme', 'capture', 'processor:USD',   'tenant:acme:USD', 'USD', 700, now()),
    ('` + cancelledPayment + `', 'p4', 'acme', 'refund',  'tenant:acme:USD', 'processor:USD',   'USD', 700, now())`

// operation is a line of the processor's ledger, as it answers it.
type operation struct {
	Sequence  int    `json:"sequence"`
	Key       string `json:"key"`
	Kind      string `json:"kind"`
	Charge    string `json:"charge"`
	Reference string `json:"reference"`
	Amount    int64  `json:"amount"`
	Currency  string `json:"currency"`
	Status    string `json:"status"`
}

// world is everything the checker looks at.
type world struct {
	orders, payments *pgxpool.Pool
	operations       []operation
	history          []invariants.Attempt
}

// goodWorld is one in which every invariant holds.
func goodWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		orders:   database(t, "orders", orders.FS),
		payments: database(t, "payments", payments.FS),
		operations: []operation{
			{1, "p1", "charge", "ch_1", paidPayment, 500, "USD", "succeeded"},
			{2, "p2", "charge", "ch_2", declinedPayment, 300, "USD", "declined"},
			{3, "p3", "charge", "ch_3", cancelledPayment, 700, "USD", "succeeded"},
			{4, "p4", "refund", "ch_3", cancelledPayment, 700, "USD", "succeeded"},
		},
		history: []invariants.Attempt{
			{Key: "k1", Marker: "note 1", Encoding: "proto", OK: true, Body: []byte("one"), Order: uuid.MustParse(paidOrder), State: "PAID"},
			{Key: "k1", Encoding: "proto", OK: true, Replayed: true, Body: []byte("one"), Order: uuid.MustParse(paidOrder), State: "PAID"},
			{Key: "k2", Marker: "note 2", Encoding: "json", OK: true, Body: []byte("two"), Order: uuid.MustParse(declinedOrder), State: "PAYMENT_FAILED"},
			{Key: "k3", Marker: "note 3", Encoding: "json", OK: true, Body: []byte("three"), Order: uuid.MustParse(cancelledOrder), State: "PENDING_PAYMENT"},
			{Key: "k1", Marker: "note of a reused key", Encoding: "proto", Refusal: "KEY_REUSED"},
			{Key: "k4", Marker: "note of a lost request", Encoding: "proto", Failure: "connection reset"},
		},
	}
	run(t, w.orders, goodOrders)
	run(t, w.payments, goodPayments)
	return w
}

// partPayment is captured in part.
const partPayment = "01990000-0000-7000-8000-000000000041"

// capturedInPart adds what a tenant did by itself: it authorized 1000, captured
// 600 of it, and gave 150 of that back.
func capturedInPart(t *testing.T, w *world) {
	t.Helper()
	run(t, w.payments, `
INSERT INTO payments (id, tenant, reference, payment_method, currency, amount, state, captured, refunded, create_time, update_time)
VALUES ('`+partPayment+`', 'acme', 'a rental', 'pm_card_ok', 'USD', 1000, 'captured', 600, 150, now(), now());
INSERT INTO ledger_entries (payment_id, processor_key, tenant, kind, debit, credit, currency, amount, create_time)
VALUES
    ('`+partPayment+`', 'p6', 'acme', 'capture', 'processor:USD',   'tenant:acme:USD', 'USD', 600, now()),
    ('`+partPayment+`', 'p7', 'acme', 'refund',  'tenant:acme:USD', 'processor:USD',   'USD', 150, now())`)
	w.operations = append(
		w.operations,
		operation{5, "p5", "authorize", "ch_5", partPayment, 1000, "USD", "succeeded"},
		operation{6, "p6", "capture", "ch_5", partPayment, 600, "USD", "succeeded"},
		operation{7, "p7", "refund", "ch_5", partPayment, 150, "USD", "succeeded"},
	)
}

// check runs the checker on the world.
func (w *world) check(t *testing.T) invariants.Result {
	t.Helper()
	result, err := invariants.Check(t.Context(), w.sources(t))
	require.NoError(t, err)
	return result
}

func (w *world) sources(t *testing.T) invariants.Sources {
	t.Helper()
	processor := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/ledger" {
			http.NotFound(rw, r)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"operations": w.operations})
	}))
	t.Cleanup(processor.Close)
	return invariants.Sources{
		Orders: w.orders, Payments: w.payments, SandboxURL: processor.URL, History: w.history, Bound: 10 * time.Second,
	}
}

func database(t *testing.T, name string, migrations fs.FS) *pgxpool.Pool {
	t.Helper()
	return pgtest.New(t, func(ctx context.Context, url string) error {
		return postgres.Migrate(ctx, url, migrations, slog.New(slog.DiscardHandler))
	}, "invariants-"+name).Pool
}

func run(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql)
	require.NoError(t, err)
}
