package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// modelBooks watch the gateway's budgets, and compare its ledger with the providers'
// invoice.
type modelBooks struct {
	pool *pgxpool.Pool
	stop func()

	mu        sync.Mutex
	looks     int64
	overshoot int64 // the largest that was seen, in nano-dollars
	err       error
}

// openBooks begins to look at the budgets, all the time until the drill ends.
func (s *stage) openBooks(ctx context.Context) (*modelBooks, error) {
	pool, err := pgxpool.New(ctx, s.postgres.Database(local.DatabaseName(local.LLMGateway)))
	if err != nil {
		return nil, fmt.Errorf("open the gateway's books: %w", err)
	}
	s.onClose(func(context.Context) { pool.Close() })
	b := &modelBooks{pool: pool}
	watching, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { b.watch(watching) })
	b.stop = sync.OnceFunc(func() { cancel(); watch.Wait() })
	s.onClose(func(context.Context) { b.stop() })
	return b, nil
}

// watch looks every few milliseconds at how far a budget is above its limit.
func (b *modelBooks) watch(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var over int64
		err := b.pool.QueryRow(ctx, `SELECT coalesce(max(settled + reserved - ceiling), 0) FROM llm_budgets`).Scan(&over)
		b.mu.Lock()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			b.err = err
		default:
			b.looks++
			b.overshoot = max(b.overshoot, over)
		}
		b.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// judge waits until nothing is in doubt, and compares.
func (b *modelBooks) judge(ctx context.Context, v *Verdict, sandbox string) error {
	settled, reserved, err := b.awaitDecided(ctx)
	if err != nil {
		return err
	}
	b.stop()
	b.mu.Lock()
	looks, overshoot, watching := b.looks, b.overshoot, b.err
	b.mu.Unlock()
	if watching != nil {
		return fmt.Errorf("watch the budgets: %w", watching)
	}
	charged, err := invoiceTotal(ctx, sandbox)
	if err != nil {
		return err
	}
	v.must("no budget is overshot, at any instant", looks > 0 && overshoot <= 0, "looked %d times, at most %d nano-dollars above", looks, max(overshoot, 0))
	v.must("the ledger is the providers' invoice, to the nano-dollar", reserved == 0 && settled == charged && charged > 0,
		"%d settled, %d in doubt, %d charged", settled, reserved, charged)
	return nil
}

// decidedBound is for how long something may stay in doubt after the load.
const decidedBound = 20 * time.Second

// awaitDecided waits until nothing is reserved, and returns what is settled, and
// what is still reserved when the bound is over.
func (b *modelBooks) awaitDecided(ctx context.Context) (settled, reserved int64, err error) {
	for end := time.Now().Add(decidedBound); ; {
		err := b.pool.QueryRow(ctx, `SELECT coalesce(sum(settled), 0)::bigint, coalesce(sum(reserved), 0)::bigint FROM llm_budgets`).Scan(&settled, &reserved)
		if err != nil {
			return 0, 0, fmt.Errorf("read the budgets: %w", err)
		}
		if reserved == 0 || time.Now().After(end) {
			return settled, reserved, nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return 0, 0, err
		}
	}
}

// invoiceTotal is what the sandbox's providers charged, in nano-dollars.
func invoiceTotal(ctx context.Context, sandbox string) (total int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, sandbox+"/llm/invoice?limit=1", http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read the invoice: %w", err)
	}
	defer response.Body.Close()
	var page struct {
		Totals []struct {
			Billed int64 `json:"billed"`
		} `json:"totals"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return 0, fmt.Errorf("read the invoice: %w", err)
	}
	for _, t := range page.Totals {
		total += t.Billed
	}
	return total, nil
}
