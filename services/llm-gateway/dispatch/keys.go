package dispatch

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// key is what is known about a provider's key.
//
//	in use ──429──▶ resting, as long as the provider says ──time──▶ in use
//	   └───401, 402, 403, quota──▶ resting, long ──time, or another secret──▶ in use
type key struct {
	provider, name string
	secret         routes.Secret

	until    atomic.Int64 // Unix nanoseconds: it rests until then
	why      atomic.Pointer[Reason]
	inflight atomic.Int64
	used     atomic.Int64 // when it was last chosen, in choices of its provider
}

// resting is how long the key still rests; 0: it does not.
func (k *key) resting(now time.Time) time.Duration {
	return max(0, time.Duration(k.until.Load()-now.UnixNano()))
}

// reason is why it rests, or last did.
func (k *key) reason() Reason {
	if why := k.why.Load(); why != nil {
		return *why
	}
	return ""
}

// rest lets the key rest. A shorter rest never ends a longer one: answers of
// requests that were under way together come in any order.
func (k *key) rest(until time.Time, why Reason) {
	for at := until.UnixNano(); ; {
		old := k.until.Load()
		if old >= at {
			return
		}
		if k.until.CompareAndSwap(old, at) {
			k.why.Store(&why)
			return
		}
	}
}

// choose returns the key that is used least now, and of several the one that was
// chosen longest ago; again is preferred if it is there. None: how soon the first
// one is awake that was used too much, -1 if there is none such.
func (p *provider) choose(keys []routes.Key, again *key, tired, busy []*key, now time.Time) (chosen *key, config routes.Key, rests time.Duration) {
	rests = -1
	for _, candidate := range keys {
		k := p.key(candidate)
		if left := k.resting(now); left > 0 {
			if k.reason() == RateLimited {
				rests = sooner(rests, left)
			}
			continue
		}
		if slices.Contains(tired, k) || slices.Contains(busy, k) {
			continue
		}
		if k == again {
			return k, candidate, -1
		}
		if chosen == nil || k.before(chosen) {
			chosen, config = k, candidate
		}
	}
	if chosen != nil {
		chosen.used.Store(p.choices.Add(1))
	}
	return chosen, config, rests
}

func (k *key) before(other *key) bool {
	a, b := k.inflight.Load(), other.inflight.Load()
	return a < b || (a == b && k.used.Load() < other.used.Load())
}

// key returns what is known about a key. One whose secret changed is another key.
func (p *provider) key(config routes.Key) *key {
	p.mu.RLock()
	k, ok := p.keys[config.Name]
	p.mu.RUnlock()
	if ok && k.secret.Equal(config.Secret) {
		return k
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok = p.keys[config.Name]; ok && k.secret.Equal(config.Secret) {
		return k
	}
	k = &key{provider: p.name, name: config.Name, secret: config.Secret}
	p.keys[config.Name] = k
	return k
}
