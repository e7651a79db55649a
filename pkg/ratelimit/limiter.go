package ratelimit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter has a token bucket for each key, all of one [Quota].
//
// Memory is bounded, because an attacker has more addresses than a server has
// memory. A bucket that nobody used for as long as it takes to fill is as good
// as none, and is dropped when another one is made. When more keys than fit are
// in use at once, those not seen for the longest go first: they get a full
// bucket when they come back, so that a flood of addresses loosens the limit and
// never tightens it for anybody.
//
// It may be used from many goroutines. One lock is held for some 100 ns a
// decision, which is small beside the call that is decided on.
type Limiter[K comparable] struct {
	quota     Quota
	announced *announcement
	capacity  int
	idle      time.Duration // after which a bucket is full, whatever was taken
	now       func() time.Time

	mu      sync.Mutex
	buckets map[K]*bucket[K]
	used    bucket[K] // a ring: next is the last one used, previous the first to go
	latest  time.Time // the clock, which does not run backwards
}

// bucket is that of one key, between its neighbours in order of use.
type bucket[K comparable] struct {
	key            K
	tokens         *rate.Limiter
	used           time.Time
	previous, next *bucket[K]
}

// NewLimiter returns a limiter that remembers so many keys, at least one.
func NewLimiter[K comparable](q Quota, keys int) *Limiter[K] {
	l := &Limiter[K]{
		quota: q, announced: announce(q), capacity: keys, idle: q.refill(),
		now: time.Now, buckets: map[K]*bucket[K]{},
	}
	l.used.previous, l.used.next = &l.used, &l.used
	return l
}

// Take takes a token of the key and says whether there was one. What is refused
// takes nothing, so that whoever keeps asking is not kept out for longer.
func (l *Limiter[K]) Take(key K) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.tick()
	b := l.buckets[key]
	if b == nil {
		b = l.add(key, now)
	}
	l.touch(b, now)
	allowed := b.tokens.AllowN(now, 1)
	return l.decide(allowed, b.tokens.TokensAt(now))
}

// Peek says what Take would, and takes nothing.
func (l *Limiter[K]) Peek(key K) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		return l.decide(true, float64(l.quota.Burst))
	}
	now := l.tick()
	l.touch(b, now)
	tokens := b.tokens.TokensAt(now)
	return l.decide(tokens >= 1, tokens)
}

// Keys returns how many keys are remembered: those whose bucket may not be full.
func (l *Limiter[K]) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.tick()
	for l.dropIdle(now) {
	}
	return len(l.buckets)
}

// tick reads the clock, under the lock: rate.Limiter takes a time before its
// last one for the new last one, and would give what came in between twice.
func (l *Limiter[K]) tick() time.Time {
	if now := l.now(); now.After(l.latest) {
		l.latest = now
	}
	return l.latest
}

// decide tells what is left.
func (l *Limiter[K]) decide(allowed bool, tokens float64) Decision {
	whole := math.Max(0, math.Floor(tokens)) // rounding may leave a trace below 0
	d := Decision{Allowed: allowed, Quota: l.quota.Name, Limit: l.quota.Burst, Remaining: int(whole), announced: l.announced}
	if d.Remaining < d.Limit {
		d.Reset = l.quota.wait(whole + 1 - tokens)
	}
	if !allowed {
		d.RetryAfter = max(l.quota.wait(1-tokens), time.Millisecond)
	}
	return d
}

// add makes a bucket, and room for it. Dropping two for each that comes keeps
// up with those that have become full, and never takes long.
func (l *Limiter[K]) add(key K, now time.Time) *bucket[K] {
	for range 2 {
		l.dropIdle(now)
	}
	if len(l.buckets) >= l.capacity {
		l.drop(l.used.previous)
	}
	b := &bucket[K]{key: key, tokens: rate.NewLimiter(rate.Limit(l.quota.Rate), l.quota.Burst)}
	b.previous, b.next = b, b
	l.buckets[key] = b
	return b
}

// dropIdle drops the first to go if its bucket is full again.
func (l *Limiter[K]) dropIdle(now time.Time) bool {
	oldest := l.used.previous
	if oldest == &l.used || now.Sub(oldest.used) < l.idle {
		return false
	}
	l.drop(oldest)
	return true
}

func (l *Limiter[K]) drop(b *bucket[K]) {
	b.unlink()
	delete(l.buckets, b.key)
}

// touch makes the bucket the last one used.
func (l *Limiter[K]) touch(b *bucket[K], now time.Time) {
	b.used = now
	b.unlink()
	b.previous, b.next = &l.used, l.used.next
	b.previous.next, b.next.previous = b, b
}

func (b *bucket[K]) unlink() { b.previous.next, b.next.previous = b.next, b.previous }
