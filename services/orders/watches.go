package orders

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// watches are all who follow orders on this replica. One question to the database
// a tick serves all of them, and none is asked while nobody watches: it learns
// which of their orders other replicas have changed. What this replica changes
// itself it tells them at once.
//
// LISTEN and NOTIFY would tell sooner and are not used: a NOTIFY takes a lock that
// all committing transactions share, and cost two thirds of the throughput of
// orders when it was measured. What is a fraction of a second to who watches
// would be paid by who buys.
type watches struct {
	store *store
	cfg   WatchConfig
	log   *slog.Logger
	// reads has a place for each read of who watches that runs at once.
	reads  chan struct{}
	joined chan struct{} // gets a value when somebody comes

	mu      sync.Mutex
	orders  map[uuid.UUID]*watched
	tenants map[string]int // seats taken, by tenant
	taken   int            // seats taken
}

// watched is one order that somebody follows.
type watched struct {
	watchers int
	seen     int64         // the version up to which they were told
	changed  chan struct{} // closed and replaced when there may be something to read
}

// readsAtOnce leaves most of the pool's connections to those who buy, however many
// watch the order that changes.
const readsAtOnce = 4

func newWatches(s *store, cfg WatchConfig, log *slog.Logger) *watches {
	return &watches{
		store: s, cfg: cfg, log: log,
		reads: make(chan struct{}, readsAtOnce), joined: make(chan struct{}, 1),
		orders: map[uuid.UUID]*watched{}, tenants: map[string]int{},
	}
}

// run looks for changes until ctx ends.
func (w *watches) run(ctx context.Context) {
	failing := false
	for {
		ids, seen := w.positions()
		if len(ids) == 0 {
			select {
			case <-w.joined:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(w.cfg.Interval):
		case <-ctx.Done():
			return
		}
		err := w.look(ctx, ids, seen)
		if err != nil && !failing && ctx.Err() == nil {
			w.log.Warn("those who watch orders are not told of changes of other replicas", "error", err)
		}
		failing = err != nil
	}
}

// positions returns the orders that are watched, and up to which version each is
// known.
func (w *watches) positions() (ids []uuid.UUID, seen []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, o := range w.orders {
		ids, seen = append(ids, id), append(seen, o.seen)
	}
	return ids, seen
}

// look asks the database once, and wakes whose order has changed.
func (w *watches) look(ctx context.Context, ids []uuid.UUID, seen []int64) error {
	ctx, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	versions, err := w.store.changed(ctx, ids, seen)
	if err != nil {
		return err
	}
	for id, version := range versions {
		w.reached(id, version)
		w.wake(id)
	}
	return nil
}

// reached notes that a version of an order exists, so that nobody is woken for it
// again.
func (w *watches) reached(id uuid.UUID, version int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.orders[id]; o != nil {
		o.seen = max(o.seen, version)
	}
}

// wake has everybody who watches an order read it again.
func (w *watches) wake(id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.orders[id]; o != nil {
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// seat is the right to watch one order.
type seat struct {
	watches *watches
	tenant  string
	id      uuid.UUID
}

// join takes a seat, or says that there is none left. The caller leaves it.
func (w *watches) join(tenant string, id uuid.UUID) (*seat, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.tenants[tenant] >= w.cfg.MaxPerTenant:
		return nil, apierror.New(apierror.ReasonTooManyStreams, "this tenant watches as many orders here as it may")
	case w.taken >= w.cfg.Max:
		return nil, apierror.New(apierror.ReasonTooManyStreams, "this replica has as many watches open as it holds")
	}
	w.taken++
	w.tenants[tenant]++
	o := w.orders[id]
	if o == nil {
		o = &watched{changed: make(chan struct{})}
		w.orders[id] = o
	}
	o.watchers++
	select {
	case w.joined <- struct{}{}:
	default: // it knows
	}
	return &seat{w, tenant, id}, nil
}

// leave gives the seat back.
func (s *seat) leave() {
	w := s.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken--
	if w.tenants[s.tenant]--; w.tenants[s.tenant] == 0 {
		delete(w.tenants, s.tenant)
	}
	if o := w.orders[s.id]; o.watchers > 1 {
		o.watchers--
	} else {
		delete(w.orders, s.id)
	}
}

// news returns a channel that is closed when there may be something to read. Take
// it before reading: what changes in between closes it too.
func (s *seat) news() <-chan struct{} {
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	return s.watches.orders[s.id].changed
}

// read runs one of the few reads that run at once, and bounds it.
func (s *seat) read(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	select {
	case s.watches.reads <- struct{}{}:
		defer func() { <-s.watches.reads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return do(ctx)
}

// longestRead bounds a read, with the wait for a connection to the database.
const longestRead = 2 * time.Second

// report is what /statusz shows.
func (w *watches) report() any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]int{"watches": w.taken, "orders": len(w.orders), "tenants": len(w.tenants)}
}
