// Package health answers what a process is asked about itself: by probes over
// HTTP, by clients over gRPC, by people on /statusz.
//
//	starting ──Started──▶ ready ◀──Undrain── draining
//	    │                   └───────Drain──────▲
//	    └────────────────────Drain─────────────┘
//
// Three questions have three answers. Has it started? Is it stuck, which only
// its own heartbeats can tell? Should it get traffic, which depends on nothing
// but the state above? What it depends on is watched and shown, and never an
// answer to any of the three: a database that is down would take every replica
// out of traffic at once, and restart them on top of it.
//
// It does not decide when to drain; that is pkg/service.
package health

import (
	"log/slog"
	"sync"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Health is the state of one process. Its methods may be called from anywhere.
type Health struct {
	log      *slog.Logger
	now      func() time.Time
	began    time.Time
	watchers sync.WaitGroup // a goroutine for each dependency
	closed   chan struct{}
	about    map[string]string
	details  map[string]func() any
	unmeter  func() error // stops the metrics

	mu           sync.Mutex
	started      bool
	draining     bool
	since        time.Time // of the last change of state
	changed      chan struct{}
	services     map[string]bool
	dependencies map[string]*watched
	beats        map[string]time.Time // the last of each heart
}

// New returns a Health that is starting. About, in pairs, is shown on /statusz.
// Close it.
func New(log *slog.Logger, about ...string) *Health {
	h := &Health{
		log:          log,
		now:          time.Now,
		began:        time.Now(),
		since:        time.Now(),
		closed:       make(chan struct{}),
		changed:      make(chan struct{}),
		about:        map[string]string{},
		details:      map[string]func() any{},
		services:     map[string]bool{},
		dependencies: map[string]*watched{},
		beats:        map[string]time.Time{},
	}
	for i := 0; i+1 < len(about); i += 2 {
		h.about[about[i]] = about[i+1]
	}
	h.unmeter = h.measure()
	return h
}

// Close ends the watching of dependencies and every open gRPC watch, and
// returns when no goroutine of h is left.
func (h *Health) Close() {
	h.mu.Lock()
	select {
	case <-h.closed:
	default:
		close(h.closed)
	}
	h.mu.Unlock()
	h.watchers.Wait()
	if err := h.unmeter(); err != nil {
		h.log.Warn("the metrics of health do not stop", "error", err)
	}
}

// Serves adds names of gRPC services; they are as healthy as the process.
func (h *Health) Serves(services ...string) {
	h.change("", func() {
		for _, name := range services {
			h.services[name] = true
		}
	})
}

// Show adds a section to /statusz: what tell returns when somebody looks, as
// JSON. It is called without a lock of h, and must not take long.
func (h *Health) Show(section string, tell func() any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.details[section] = tell
}

// Started says that start-up is done. The process is ready unless it drains.
func (h *Health) Started() { h.change("started", func() { h.started = true }) }

// Drain takes the process out of traffic: readiness and gRPC health fail from
// here on, liveness does not.
func (h *Health) Drain() { h.change("draining", func() { h.draining = true }) }

// Undrain puts the process back into traffic.
func (h *Health) Undrain() { h.change("no longer draining", func() { h.draining = false }) }

// Ready reports whether the process should get traffic.
func (h *Health) Ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready()
}

// State is starting, ready or draining.
func (h *Health) State() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state()
}

func (h *Health) ready() bool { return h.started && !h.draining }

// state is the name of the state, for people.
func (h *Health) state() string {
	switch {
	case h.draining:
		return "draining"
	case h.started:
		return "ready"
	default:
		return "starting"
	}
}

// change applies a change of state and wakes all gRPC watchers.
func (h *Health) change(what string, apply func()) {
	h.mu.Lock()
	before := h.state()
	apply()
	after := h.state()
	if before != after {
		h.since = h.now()
	}
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
	if before != after {
		h.log.Info("health: "+what, "state", after)
	}
}

// status is what gRPC health says of a service, and whether there is such a
// name. The channel is closed at the next change of anything.
func (h *Health) status(service string) (status healthpb.HealthCheckResponse_ServingStatus, known bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	up := h.ready()
	known = service == "" || h.services[service]
	if name, isDependency := cutDependency(service); isDependency && !known {
		if d := h.dependencies[name]; d != nil {
			up, known = d.up(h.now()), true
		}
	}
	switch {
	case !known:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN, false, h.changed
	case up:
		return healthpb.HealthCheckResponse_SERVING, true, h.changed
	default:
		return healthpb.HealthCheckResponse_NOT_SERVING, true, h.changed
	}
}
