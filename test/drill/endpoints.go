package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// Replica is one process of a service, as the rest of the world sees it.
type Replica struct {
	// Name tells it from its siblings, such as "orders-4".
	Name string
	// GRPC and HTTP are the addresses it serves on.
	GRPC, HTTP string
	// ReadyURL is its readiness probe.
	ReadyURL string
	// Admin is the address of its admin port.
	Admin string
}

// Endpoints plays the part that kubelet and the endpoint controller play in
// Kubernetes: it probes every replica of one service and publishes which of
// them are ready. It publishes late, as a cluster does: everything that follows
// the endpoints goes on sending to a replica for a while after it said that it
// is not ready. (A cluster also takes out a pod that is being deleted, whatever
// it says. The drill leaves that out, so that the readiness flip is seen to
// work alone.)
type Endpoints struct {
	poll        time.Duration
	propagation time.Duration

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when what is published changes
	watched   map[string]*watched
	published map[string]Replica

	ctx    context.Context // ends the probes; no request's context
	cancel context.CancelFunc
	probes sync.WaitGroup
}

// watched is a replica that is probed.
type watched struct {
	replica Replica
	gone    chan struct{}
}

// NewEndpoints probes every poll and publishes a change propagation later.
func NewEndpoints(poll, propagation time.Duration) *Endpoints {
	ctx, cancel := context.WithCancel(context.Background())
	return &Endpoints{
		poll:        poll,
		propagation: propagation,
		changed:     make(chan struct{}),
		watched:     map[string]*watched{},
		published:   map[string]Replica{},
		ctx:         ctx,
		cancel:      cancel,
	}
}

// Close ends the probes.
func (e *Endpoints) Close() {
	e.cancel()
	e.probes.Wait()
}

// Add begins to probe a replica.
func (e *Endpoints) Add(r Replica) {
	w := &watched{replica: r, gone: make(chan struct{})}
	e.mu.Lock()
	e.watched[r.Name] = w
	e.mu.Unlock()
	e.probes.Go(func() { e.probe(w) })
}

// Remove forgets a replica whose process is gone; that too is published late.
func (e *Endpoints) Remove(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.watched[name]; ok {
		delete(e.watched, name)
		close(w.gone)
	}
}

// Ready returns the replicas that are published as ready, by name.
func (e *Endpoints) Ready() []Replica {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := slices.Sorted(maps.Keys(e.published))
	ready := make([]Replica, 0, len(names))
	for _, name := range names {
		ready = append(ready, e.published[name])
	}
	return ready
}

// Await waits until the named replica is published as ready.
func (e *Endpoints) Await(ctx context.Context, name string) error {
	for {
		e.mu.Lock()
		_, ready := e.published[name]
		changed := e.changed
		e.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s was not published as ready: %w", name, context.Cause(ctx))
		}
	}
}

// probe asks one replica until it is gone, and publishes what it says after the
// propagation time.
func (e *Endpoints) probe(w *watched) {
	tick := time.NewTicker(e.poll)
	defer tick.Stop()
	published, said, since := false, false, time.Now()
	for {
		gone := false
		select {
		case <-w.gone:
			gone = true
		default:
		}
		if ready := !gone && local.Ready(e.ctx, w.replica.ReadyURL); ready != said {
			said, since = ready, time.Now()
		}
		if said != published && time.Since(since) >= e.propagation {
			published = said
			e.publish(w.replica, published)
		}
		if gone && !published {
			return
		}
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *Endpoints) publish(r Replica, ready bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ready {
		e.published[r.Name] = r
	} else {
		delete(e.published, r.Name)
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// ServeHTTP answers with the gRPC addresses of the ready replicas, as the DNS of
// a headless service would; the resolver of this package asks.
func (e *Endpoints) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	addresses := []string{}
	for _, r := range e.Ready() {
		addresses = append(addresses, r.GRPC)
	}
	_ = json.NewEncoder(w).Encode(addresses) // a client that left asks again
}
