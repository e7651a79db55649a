package ledger_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// provider bills, and keeps the invoice.
type provider struct {
	mu      sync.Mutex
	invoice map[ledger.AttemptID]int64
}

// send bills an attempt, unless its owner's time is up.
func (p *provider) send(h *ledger.Held, cost int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !time.Now().Before(h.Until()) {
		return false
	}
	p.invoice[h.ID()] = cost
	return true
}

func (p *provider) lookup(_ context.Context, a ledger.Open) (ledger.Finding, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cost, billedFor := p.invoice[a.ID]
	switch n := rand.IntN(10); {
	case n == 0:
		return ledger.Finding{}, errors.New("the provider's books are closed")
	case n == 1:
		return ledger.Finding{Verdict: ledger.NotYet}, nil
	case billedFor:
		return ledger.Finding{Verdict: ledger.Found, Outcome: billed(cost)}, nil
	}
	return ledger.Finding{Verdict: ledger.NeverHappened}, nil
}

// client asks for generations in every way there is, and sometimes vanishes.
type client struct {
	ledger   *ledger.Ledger
	provider *provider
	lease    time.Duration
	limit    int64
	counts   *counts
}

type counts struct{ settled, refused, fenced, dropped, troubled atomic.Int64 }

// ask is one request: a few attempts, and one of the ways to end.
func (c *client) ask(ctx context.Context, of string, period int) error {
	b, all := day("daily", of, c.limit), day("overall", "", 3*c.limit/2)
	b.Start, all.Start = b.Start.Add(time.Duration(period)*time.Second), all.Start.Add(time.Duration(period)*time.Second)
	r := request(rand.Int64N(c.limit/3)+1, b, all)
	if rand.IntN(2) == 0 {
		r.Budgets[0], r.Budgets[1] = all, b // whatever order they are named in
	}
	r.Tenant, r.Lease = of, c.lease
	if rand.IntN(3) == 0 {
		r = keyed(r, r.ID.String())
	}
	held, _, err := c.ledger.Reserve(ctx, r)
	var over *ledger.OverBudget
	if errors.As(err, &over) && over.Left > 0 {
		r.First.Worst = over.Left // clamped, as a caller does
		held, _, err = c.ledger.Reserve(ctx, r)
	}
	if err != nil {
		return err
	}
	worst := r.First.Worst
	for range 3 {
		o := failure()
		switch cost := rand.Int64N(worst/8 + 1); rand.IntN(4) {
		case 0, 1:
			if c.provider.send(held, cost) {
				o = billed(cost)
			}
		case 2:
			c.provider.send(held, cost)
			o = unknown()
		}
		switch rand.IntN(9) {
		case 0, 1, 2:
			worst = rand.Int64N(c.limit/3) + 1
			err := held.Next(ctx, o, attempt(worst))
			if errors.As(err, &over) {
				return errors.Join(err, held.Release(ctx, o))
			}
			if err != nil {
				return err
			}
			continue
		case 3:
			c.counts.dropped.Add(1)
			return nil // the process died
		case 4:
			time.Sleep(c.lease + c.lease/2) // the process was paused
		case 5:
			if err := held.Renew(ctx); err != nil {
				return err
			}
		}
		if o.State == ledger.Settled {
			return held.Settle(ctx, o, answer("{}"))
		}
		return held.Release(ctx, o)
	}
	return nil
}

// count tells the errors that may be from those that may not.
func (c *client) count(t *testing.T, err error) {
	var over *ledger.OverBudget
	reason, _ := apierror.ReasonOf(err)
	switch {
	case err == nil:
		c.counts.settled.Add(1)
	case errors.As(err, &over):
		c.counts.refused.Add(1)
	case errors.Is(err, ledger.ErrFenced):
		c.counts.fenced.Add(1)
	case reason == apierror.ReasonOutcomeUnknown, reason == apierror.ReasonDependencyUnavailable:
		c.counts.troubled.Add(1)
	default:
		assert.NoError(t, err)
	}
}

// observer looks at the books all the time, each time at one instant.
type observer struct {
	looks, over, wrong int
}

// watch polls until ctx ends. A repeatable read is one snapshot.
func (o *observer) watch(ctx context.Context, t *testing.T, url string) {
	conn, err := pgx.Connect(t.Context(), url)
	if !assert.NoError(t, err) {
		return
	}
	defer func() { assert.NoError(t, conn.Close(t.Context())) }()
	const query = `
SELECT count(*) FILTER (WHERE b.settled + b.reserved > b.ceiling),
    count(*) FILTER (WHERE (b.settled, b.reserved) <> (
        SELECT coalesce(sum(a.cost), 0), coalesce(sum(a.worst) FILTER (WHERE a.cost IS NULL), 0)
        FROM llm_attempts a
        WHERE b.id = ANY (a.budgets)))
FROM llm_budgets b`
	for ctx.Err() == nil {
		err := pgx.BeginTxFunc(t.Context(), conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			var over, wrong int
			err := tx.QueryRow(t.Context(), query).Scan(&over, &wrong)
			o.looks, o.over, o.wrong = o.looks+1, o.over+over, o.wrong+wrong
			return err
		})
		if !assert.NoError(t, err) {
			return
		}
	}
}

// spend lets clients of several ledgers spend as fast as they can for a while,
// under an observer, and reports what it saw.
func spend(t *testing.T, url string, ledgers []*ledger.Ledger, p *provider, each int) (*observer, *counts) {
	var (
		clients, watching sync.WaitGroup
		seen              observer
		n                 counts
	)
	watch, stop := context.WithCancel(t.Context())
	defer stop()
	watching.Go(func() { seen.watch(watch, t, url) })
	for _, l := range ledgers {
		r := ledger.NewReconciler(l, p.lookup, ledger.WithInterval(10*time.Millisecond), ledger.WithHorizon(0),
			ledger.WithBackoff(5*time.Millisecond, 20*time.Millisecond))
		watching.Go(func() { assert.NoError(t, r.Run(watch)) })
		for i := range 6 {
			c := &client{ledger: l, provider: p, lease: 60 * time.Millisecond, limit: 10_000, counts: &n}
			of := []string{"acme", "globex"}[i%2]
			clients.Go(func() {
				for j := range each {
					c.count(t, c.ask(t.Context(), of, j/20))
				}
			})
		}
	}
	clients.Wait()
	stop()
	watching.Wait()
	return &seen, &n
}

func TestSettledAndReservedAreNeverAboveTheLimit(t *testing.T) {
	b := newBooks(t)
	var ledgers []*ledger.Ledger
	chaos, stop := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	for range 2 {
		proxy, through := pgproxy.New(t, b.url)
		ledgers = append(ledgers, ledger.New(connect(t, through, 8), ledger.WithFirstLook(10*time.Millisecond)))
		cutting.Go(func() {
			for chaos.Err() == nil {
				if !proxy.Armed() {
					proxy.CutBefore(rand.IntN(150), rand.IntN(2) == 0, nil)
				}
				time.Sleep(time.Millisecond)
			}
			proxy.Disarm()
		})
	}
	p := &provider{invoice: map[ledger.AttemptID]int64{}}
	seen, n := spend(t, b.url, ledgers, p, 60)
	stop()
	cutting.Wait()
	t.Logf("%d looks; %d settled, %d refused, %d fenced, %d dropped, %d in trouble", seen.looks,
		n.settled.Load(), n.refused.Load(), n.fenced.Load(), n.dropped.Load(), n.troubled.Load())

	require.Zero(t, seen.over, "settled + reserved was above a limit")
	require.Zero(t, seen.wrong, "a budget was not the sum of its attempts")
	require.Greater(t, seen.looks, 10)
	require.Zero(t, scalar[int](t, b, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`))
	for what, count := range map[string]*atomic.Int64{"settled": &n.settled, "refused": &n.refused, "fenced": &n.fenced, "dropped": &n.dropped} {
		require.Positive(t, count.Load(), "the test did not come across: "+what)
	}

	// And in the end the books are the invoice.
	require.Eventually(t, func() bool {
		b.endLeases(t)
		b.round(t, p.lookup)
		return scalar[int](t, b, `SELECT count(*) FROM llm_attempts WHERE cost IS NULL`) == 0
	}, 20*time.Second, time.Millisecond)
	booked := map[ledger.AttemptID]int64{}
	rows, err := b.pool.Query(t.Context(), `SELECT request, number, cost FROM llm_attempts WHERE state = 'settled'`)
	require.NoError(t, err)
	var id ledger.AttemptID
	var cost int64
	_, err = pgx.ForEachRow(rows, []any{&id.Request, &id.Number, &cost}, func() error { booked[id] = cost; return nil })
	require.NoError(t, err)
	require.Equal(t, p.invoice, booked)
	require.Zero(t, scalar[int](t, b, `SELECT sum(reserved) FROM llm_budgets`))
	require.Zero(t, scalar[int](t, b, `SELECT sum(open) FROM llm_keys`))
}
