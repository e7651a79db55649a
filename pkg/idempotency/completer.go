package idempotency

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Completer finishes what a crash, a timeout or a sealed answer left open. It
// sweeps for keys whose lease is over, takes each over under a new epoch, and
// hands it to the handler of its method. Any number of completers may run:
// SKIP LOCKED keeps them apart, the epoch keeps them right.
//
// A handler finds out what became of the effect (it looks up before it repeats)
// and ends with [Attempt.Complete]. If it returns an error, or without having
// completed, the key is tried again after a pause that grows to [WithMaxPause].
type Completer struct {
	store    *Store
	handlers map[string]func(context.Context, *Attempt) error
	methods  []string
	interval time.Duration
	maxPause time.Duration
	workers  int
	nudged   chan struct{}
}

// CompleterOption changes how a completer works.
type CompleterOption func(*Completer)

// WithInterval sets the time between sweeps; one second by default.
func WithInterval(d time.Duration) CompleterOption { return func(c *Completer) { c.interval = d } }

// WithMaxPause sets the longest pause between two tries of one key; four
// seconds by default. It bounds how long after its dependency has recovered a
// key stays undecided.
func WithMaxPause(d time.Duration) CompleterOption { return func(c *Completer) { c.maxPause = d } }

// WithWorkers sets how many keys are worked on at once; 16 by default.
func WithWorkers(n int) CompleterOption { return func(c *Completer) { c.workers = n } }

// WithConfig sets all of it from a service's configuration.
func WithConfig(cfg CompleterConfig) CompleterOption {
	return func(c *Completer) { c.interval, c.maxPause, c.workers = cfg.Interval, cfg.MaxPause, cfg.Workers }
}

// NewCompleter makes a completer with a handler for each full method. Keys of
// other methods are left to who knows them.
func NewCompleter(s *Store, handlers map[string]func(context.Context, *Attempt) error, opts ...CompleterOption) *Completer {
	c := &Completer{
		store: s, handlers: handlers,
		interval: time.Second, maxPause: 4 * time.Second, workers: 16,
		nudged: make(chan struct{}, 1),
	}
	for method := range handlers {
		c.methods = append(c.methods, method)
	}
	slices.Sort(c.methods)
	for _, o := range opts {
		o(c)
	}
	return c
}

// Nudge asks for a sweep now, for example after sealing an answer. It never
// blocks.
func (c *Completer) Nudge() {
	select {
	case c.nudged <- struct{}{}:
	default:
	}
}

// Run sweeps until the context ends, then waits for the keys it is working on,
// which takes no longer than a lease, and returns nil. It may be called again.
func (c *Completer) Run(ctx context.Context) error {
	workers := crew{places: make(chan struct{}, c.workers)}
	defer workers.wait()
	for {
		c.sweep(ctx, &workers)
		// Jitter, so that replicas which started together do not sweep together.
		timer := time.NewTimer(c.interval*3/4 + rand.N(c.interval/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.nudged:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// sweep hands out keys until nothing is free. Keys do not wait for each other:
// one whose dependency takes long holds its own worker and no more.
func (c *Completer) sweep(ctx context.Context, workers *crew) {
	for {
		free := workers.reserve(ctx)
		if free == 0 {
			return
		}
		attempts, err := c.takeOver(ctx, free)
		workers.release(free - len(attempts))
		for _, a := range attempts {
			workers.start(func() { c.work(ctx, a) })
		}
		if err != nil {
			if ctx.Err() == nil {
				c.store.log.WarnContext(ctx, "sweeping undecided keys failed; the next sweep follows", "cause", err)
			}
			return
		}
		if len(attempts) < free {
			c.observe(ctx)
			return
		}
	}
}

// crew are workers that can be reserved before it is known what for.
type crew struct {
	places  chan struct{} // holds who is reserved or works
	working sync.WaitGroup
}

// reserve waits for a worker and reserves all that are free; none if ctx ends.
func (w *crew) reserve(ctx context.Context) int {
	select {
	case w.places <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; ; n++ {
		select {
		case w.places <- struct{}{}:
		default:
			return n
		}
	}
}

// release gives reserved workers back.
func (w *crew) release(n int) {
	for range n {
		<-w.places
	}
}

// start has a reserved worker work.
func (w *crew) start(work func()) {
	w.working.Go(func() {
		defer w.release(1)
		work()
	})
}

// wait waits until nobody works.
func (w *crew) wait() { w.working.Wait() }

// takeOver claims at most so many keys, for which there are workers: a key that
// waited in a queue here would have its lease run out.
func (c *Completer) takeOver(ctx context.Context, most int) ([]*Attempt, error) {
	var attempts []*Attempt
	for _, t := range []*table{timedKeys, opaqueKeys} {
		free := most - len(attempts)
		if free == 0 {
			break
		}
		until := time.Now().Add(c.store.cfg.Lease)
		rows, err := c.store.pool.Query(ctx, t.sweep, c.store.cfg.Lease, c.methods, free)
		if err != nil {
			return attempts, fmt.Errorf("taking over undecided keys: %w", err)
		}
		taken, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Attempt, error) {
			return scanAttempt(row, c.store, t, until)
		})
		if err != nil {
			return attempts, fmt.Errorf("taking over undecided keys: %w", err)
		}
		attempts = append(attempts, taken...)
	}
	return attempts, nil
}

func scanAttempt(row pgx.CollectableRow, s *Store, t *table, until time.Time) (*Attempt, error) {
	a := &Attempt{Call: &Call{}, store: s, until: until}
	var (
		id       uuid.UUID
		key      any = &id
		resource *uuid.UUID
	)
	if t == opaqueKeys {
		key = &a.Key.text
	}
	if err := row.Scan(key, &a.Tenant, &a.Method, &resource, &a.Epoch, &a.secret, &a.Sealed, &a.Started); err != nil {
		return nil, err
	}
	if t == timedKeys {
		a.Key = keyOf(id)
	}
	if resource != nil {
		a.Resource = *resource
	}
	return a, nil
}

// work runs a handler under a lease.
func (c *Completer) work(ctx context.Context, a *Attempt) {
	// Stopping does not interrupt: a key that was taken over is finished or
	// given back.
	working, cancel := a.Context(ctx)
	defer cancel()
	err := c.handle(working, a)
	result := "completed"
	if err != nil || !a.settled {
		result = "failed"
		pause := c.pause(a.Epoch)
		a.postpone(ctx, pause)
		c.store.log.WarnContext(ctx, "an undecided key could not be completed yet",
			"method", a.Method, "resource", a.Resource, "epoch", a.Epoch, "again_in", pause, "cause", err)
	}
	meters().takeovers.Add(ctx, 1, metric.WithAttributes(attribute.String("method", a.Method), attribute.String("result", result)))
}

// handle turns a panic into an error: one poisonous key must not stop the sweep.
func (c *Completer) handle(ctx context.Context, a *Attempt) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	handler, ok := c.handlers[a.Method]
	if !ok {
		return errors.New("no handler for the method")
	}
	return handler(ctx, a)
}

// pause doubles with every takeover from a quarter of a second.
func (c *Completer) pause(epoch int64) time.Duration {
	pause := min(250*time.Millisecond<<min(max(epoch-2, 0), 10), c.maxPause)
	return pause/2 + rand.N(pause/2+1)
}

// observe measures what is left.
func (c *Completer) observe(ctx context.Context) {
	var total int64
	var oldest float64
	for _, t := range []*table{timedKeys, opaqueKeys} {
		var n int64
		var age float64
		if err := c.store.pool.QueryRow(ctx, t.backlog).Scan(&n, &age); err != nil {
			return // the next sweep measures again
		}
		total, oldest = total+n, max(oldest, age)
	}
	meters().left.Store(&backlog{keys: total, oldest: oldest, at: time.Now()})
}
