package resilience

import (
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Ensure returns the dependency of the name, and adds it if there is none: for
// dependencies that come with a file that is read again while the process runs.
// One that exists keeps the Config it was made with.
func (r *Registry) Ensure(name string, cfg Config, policies *policy.Set) (*Dependency, error) {
	r.mu.Lock()
	d, ok := r.known[name]
	r.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := r.Add(name, cfg, policies)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if other, ok := r.known[name]; ok { // somebody else was faster
			return other, nil
		}
	}
	return d, err
}

// Permit is the right to make one call past the breaker, for who makes calls
// that no interceptor of this package fits, such as those that choose among
// several dependencies. It must be settled. The zero Permit is settled.
type Permit struct {
	dependency *Dependency
	permit     permit
	settled    *atomic.Bool
}

// Acquire asks the breaker, and only it: not the bulkhead, and not the retry
// budget. The error is typed and says when the breaker will probe.
func (d *Dependency) Acquire() (Permit, error) {
	p, wait, ok := d.breaker.acquire()
	if !ok {
		return Permit{}, errOpen(d.name, wait)
	}
	return Permit{dependency: d, permit: p, settled: new(atomic.Bool)}, nil
}

// Settle gives the permit back with what its call said about the dependency.
// [Neutral] counts as nothing, and makes room for another probe. Only the first
// time counts. How long the call took is for the Config's BreakerSlow; zero if
// that says nothing, as with streams.
func (p Permit) Settle(h Health, took time.Duration) {
	if p.dependency != nil && p.settled.CompareAndSwap(false, true) {
		p.dependency.breaker.settle(p.permit, h, took)
	}
}

// Prove settles the permit of a probe as healthy, and leaves any other as it is:
// a stream that has begun has shown what it was sent to show, and may live for
// hours, while its end still says something to a closed breaker.
func (p Permit) Prove() {
	if p.permit.probe {
		p.Settle(Healthy, 0)
	}
}
