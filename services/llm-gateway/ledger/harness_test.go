package ledger_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/migrations"
)

const (
	tenant = "acme"
	dollar = int64(1_000_000_000)
	lease  = time.Minute
)

// books is a ledger on a database of its own.
type books struct {
	*ledger.Ledger
	pool *pgxpool.Pool
	url  string
}

func migrate(ctx context.Context, url string) error {
	return postgres.Migrate(ctx, url, migrations.FS, slog.New(slog.DiscardHandler))
}

// newBooks gives a test a database of its own, so that it can run beside the
// others.
func newBooks(t testing.TB, options ...ledger.Option) *books {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	db := pgtest.New(t, migrate, "llm_ledger")
	return &books{Ledger: ledger.New(db.Pool, options...), pool: db.Pool, url: db.URL}
}

// day is a budget of today.
func day(name, of string, limit int64) ledger.Budget {
	start := time.Now().UTC().Truncate(24 * time.Hour)
	return ledger.Budget{Tenant: of, Name: name, Period: "day", Start: start, End: start.Add(24 * time.Hour), Limit: limit}
}

// request is one that may cost so much, of the tenant's budget and the one of
// all.
func request(worst int64, budgets ...ledger.Budget) ledger.Request {
	return ledger.Request{
		ID: uuid.Must(uuid.NewV7()), Tenant: tenant, Route: "chat", Protocol: "openai",
		Budgets: budgets, Lease: lease, First: attempt(worst),
	}
}

func attempt(worst int64) ledger.Attempt {
	return ledger.Attempt{Provider: "openai", Model: "gpt-5-mini", Key: "main", Worst: worst, PriceVersion: "2026-01-01"}
}

func keyed(r ledger.Request, key string) ledger.Request {
	r.Key, r.Fingerprint = key, []byte("of the body")
	return r
}

// again is another arrival of the same request.
func again(r ledger.Request) ledger.Request {
	r.ID = uuid.Must(uuid.NewV7())
	return r
}

func (b *books) reserve(t testing.TB, r ledger.Request) *ledger.Held {
	t.Helper()
	held, replay, err := b.Reserve(t.Context(), r)
	require.NoError(t, err)
	require.Nil(t, replay)
	require.NotNil(t, held)
	return held
}

// refuse requires that a request is refused, and returns the error.
func (b *books) refuse(t testing.TB, r ledger.Request) error {
	t.Helper()
	held, replay, err := b.Reserve(t.Context(), r)
	require.Error(t, err)
	require.Nil(t, held)
	require.Nil(t, replay)
	return err
}

func (b *books) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// account is a budget's two sums.
type account struct{ Settled, Reserved int64 }

// of returns how a budget stands.
func (b *books) of(t testing.TB, budget ledger.Budget) account {
	t.Helper()
	balances, err := b.Balance(t.Context(), budget.Tenant)
	require.NoError(t, err)
	for _, balance := range balances {
		if balance.Name == budget.Name && balance.Tenant == budget.Tenant {
			return account{Settled: balance.Settled, Reserved: balance.Reserved}
		}
	}
	return account{}
}

// state returns where an attempt stands.
func (b *books) state(t testing.TB, id ledger.AttemptID) ledger.State {
	t.Helper()
	return scalar[ledger.State](t, b, `SELECT state FROM llm_attempts WHERE request = $1 AND number = $2`, id.Request, id.Number)
}

// endLeases makes the leases of all open attempts run out.
func (b *books) endLeases(t testing.TB) {
	t.Helper()
	b.exec(t, `UPDATE llm_attempts SET lease_until = now() - interval '1 second' WHERE state IN ('dispatched', 'unknown')`)
}

func scalar[T any](t testing.TB, b *books, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(&v))
	return v
}

// Outcomes.
func billed(cost int64) ledger.Outcome {
	return ledger.Outcome{
		State: ledger.Settled, Cost: cost, Exact: true, Finish: "stop", UpstreamID: "chatcmpl-1",
		Usage: ledger.Usage{Input: 10, CacheRead: 20, CacheWrite: 3, CacheWrite1h: 4, Output: 50, Reasoning: 6},
	}
}

func failure() ledger.Outcome {
	return ledger.Outcome{State: ledger.Failed, Exact: true, Error: "529 overloaded"}
}

func unknown() ledger.Outcome {
	return ledger.Outcome{State: ledger.Unknown, Error: "connection reset"}
}

func answer(body string) *ledger.Stored {
	return &ledger.Stored{Status: 200, ContentType: "application/json", Body: []byte(body)}
}

// says is a lookup with one verdict for everything.
func says(v ledger.Verdict, o ledger.Outcome) ledger.Lookup {
	return func(context.Context, ledger.Open) (ledger.Finding, error) {
		return ledger.Finding{Verdict: v, Outcome: o}, nil
	}
}

// round lets a reconciler work once on everything, believing it at once.
func (b *books) round(t testing.TB, lookup ledger.Lookup, options ...ledger.ReconcilerOption) {
	t.Helper()
	options = append([]ledger.ReconcilerOption{ledger.WithHorizon(0)}, options...)
	_, err := ledger.NewReconciler(b.Ledger, lookup, options...).Round(t.Context())
	require.NoError(t, err)
}
