package idempotency_test

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/type/money"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

const (
	tenant   = "acme"
	method   = "/holdfast.payments.v1.PaymentsService/ChargePayment"
	secretV1 = "v1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	secretV2 = "v2:202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
)

// business is the schema that the tests write: effects can be counted in it.
const business = `
CREATE TABLE effects (id uuid PRIMARY KEY, amount bigint NOT NULL);
CREATE TABLE parts (effect uuid NOT NULL, name text NOT NULL);
CREATE TABLE accounts (name text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
CREATE TABLE promises (id uuid REFERENCES effects DEFERRABLE INITIALLY DEFERRED);
INSERT INTO accounts VALUES ('wallet', 1000);`

func migrate(ctx context.Context, url string) error {
	if err := postgres.Migrate(ctx, url, os.DirFS("migrations"), slog.New(slog.DiscardHandler), postgres.WithRiver()); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := idempotency.Maintain(ctx, conn); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, business)
	return err
}

// database is a migrated database and a store over it.
type database struct {
	*idempotency.Store
	pool *pgxpool.Pool
	url  string
}

// newDatabase gives a test a database of its own, so that it can run beside the
// others.
func newDatabase(t testing.TB, change ...func(*idempotency.Config)) *database {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	db := pgtest.New(t, migrate, "idempotency")
	return &database{Store: newStore(t, db.Pool, change...), pool: db.Pool, url: db.URL}
}

func newStore(t testing.TB, pool *pgxpool.Pool, change ...func(*idempotency.Config)) *idempotency.Store {
	t.Helper()
	cfg := idempotency.DefaultConfig()
	cfg.Secrets = secretV1
	for _, c := range change {
		c(&cfg)
	}
	deriver, err := idempotency.NewDeriver(cfg)
	require.NoError(t, err)
	store, err := idempotency.New(pool, deriver, cfg, nil)
	require.NoError(t, err)
	return store
}

// newDurableDatabase is on a server of its own that waits for the disk at every
// commit, as the shared one does not: what a benchmark is about.
func newDurableDatabase(b *testing.B) *database {
	b.Helper()
	db := pgtest.Dedicated(b).Database(migrate, "idempotency")
	return &database{Store: newStore(b, db.Pool), pool: db.Pool, url: db.URL}
}

// scalar runs a query for one value.
func scalar[T any](t testing.TB, d *database, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, d.pool.QueryRow(t.Context(), sql, args...).Scan(&v))
	return v
}

func (d *database) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := d.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (d *database) effects(t testing.TB) int {
	return scalar[int](t, d, "SELECT count(*) FROM effects")
}

func (d *database) keys(t testing.TB) int {
	return scalar[int](t, d, "SELECT (SELECT count(*) FROM idempotency_keys) + (SELECT count(*) FROM idempotency_opaque_keys)")
}

func (d *database) balance(t testing.TB) int {
	return scalar[int](t, d, "SELECT balance FROM accounts")
}

var insertEffect = idempotency.Compile(`INSERT INTO effects (id, amount) SELECT $1, $2 FROM claimed`)

// charge inserts an effect of the call's own derived id.
func (d *database) charge(ctx context.Context, call *idempotency.Call) (idempotency.Outcome, error) {
	return d.Insert(ctx, call, insertEffect, anAnswer(), [16]byte(d.ResourceID(call, "effect")), int64(100))
}

func aRequest() *paymentsv1.ChargePaymentRequest {
	return &paymentsv1.ChargePaymentRequest{
		Reference: "order-1", PaymentMethod: "pm_card_ok",
		Amount: &money.Money{CurrencyCode: "USD", Units: 1},
	}
}

// answers makes every answer another one, so that a replay cannot be mistaken
// for a second execution.
var answers atomic.Int64

func anAnswer() *paymentsv1.ChargePaymentResponse {
	return &paymentsv1.ChargePaymentResponse{Payment: &paymentsv1.Payment{
		Id: uuid.NewString(), State: paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED,
		Amount: &money.Money{CurrencyCode: "USD", Units: answers.Add(1)},
	}}
}

func aCall() *idempotency.Call { return callWith(idempotency.NewKey()) }

func callWith(key idempotency.Key) *idempotency.Call {
	return idempotency.NewCall(tenant, key, method, aRequest())
}

// again is another arrival of the same request.
func again(c *idempotency.Call) *idempotency.Call {
	return idempotency.NewCall(c.Tenant, c.Key, c.Method, aRequest())
}

func key(t testing.TB, s string) idempotency.Key {
	t.Helper()
	k, err := idempotency.ParseKey(s)
	require.NoError(t, err)
	return k
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, 5*time.Millisecond, what)
}
