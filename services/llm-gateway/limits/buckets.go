package limits

import (
	"container/list"
	"sync"
	"time"
)

// rate is how much may be asked for in a minute; 0 is no limit.
type rate struct{ requests, tokens int64 }

// buckets has two buckets for each key: of requests and of tokens.
//
// Memory is bounded. Buckets that are full are as good as none and are dropped when
// others are made; when more keys than fit are in use, those go that have not been
// used for the longest, and start full when they come back.
//
// One lock is held for about a microsecond a request, and for ten where the same
// key has a thousand under way: small beside the call that is decided on.
type buckets[K comparable] struct {
	capacity int
	now      func() time.Time

	mu   sync.Mutex
	keys map[K]*list.Element // of *pair[K]
	used *list.List          // the last one used is in front
}

// pair is what one key has.
type pair[K comparable] struct {
	key              K
	rate             rate
	requests, tokens bucket
}

func newBuckets[K comparable](capacity int, now func() time.Time) *buckets[K] {
	return &buckets[K]{capacity: capacity, now: now, keys: map[K]*list.Element{}, used: list.New()}
}

// Reservation is what a request has taken. The zero value has taken nothing.
type Reservation struct {
	correct func(actual int64)
}

// Correct gives back what was not used, or takes what was used beyond; a request
// that was sent remains a request. To be called once, when the request has ended.
func (r Reservation) Correct(actual int64) {
	if r.correct != nil {
		r.correct(actual)
	}
}

// reserve takes a request and so many tokens of it, or neither: then it says how
// long it takes until there is enough, if nobody else comes first.
func (b *buckets[K]) reserve(key K, limit rate, tokens int64) (Reservation, time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	p := b.pair(key, limit, now)
	tokens = max(tokens, 0)
	if wait := p.wait(tokens, now); wait > 0 {
		return Reservation{}, wait, false
	}
	p.requests.take(1)
	taken := p.tokens.take(float64(tokens))
	if limit.tokens == 0 {
		return Reservation{}, 0, true // nothing to correct
	}
	p.tokens.keep(taken)
	return Reservation{func(actual int64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		p.adjust(p.rate, b.now())
		p.tokens.correct(taken, float64(tokens-max(actual, 0)))
	}}, 0, true
}

// wait is how long it takes until reserve would take; 0: now.
func (b *buckets[K]) wait(key K, limit rate, tokens int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	return b.pair(key, limit, now).wait(max(tokens, 0), now)
}

func (p *pair[K]) wait(tokens int64, now time.Time) time.Duration {
	return max(p.requests.wait(1, now), p.tokens.wait(float64(tokens), now))
}

// observe believes what a provider said of a key's limits.
func (b *buckets[K]) observe(key K, limit rate, requests, tokens *observation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pair(key, limit, b.now())
	if requests != nil {
		p.requests.observe(*requests)
	}
	if tokens != nil {
		p.tokens.observe(*tokens)
	}
}

// size is how many keys are remembered.
func (b *buckets[K]) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys)
}

// pair returns what a key has, at this time and by this limit.
func (b *buckets[K]) pair(key K, limit rate, now time.Time) *pair[K] {
	element, ok := b.keys[key]
	if !ok {
		b.room(now)
		element = b.used.PushFront(&pair[K]{key: key})
		b.keys[key] = element
	}
	b.used.MoveToFront(element)
	p := element.Value.(*pair[K])
	p.adjust(limit, now)
	return p
}

func (p *pair[K]) adjust(limit rate, now time.Time) {
	p.rate = limit
	p.requests.adjust(limit.requests, now)
	p.tokens.adjust(limit.tokens, now)
}

// room makes room for one. Dropping up to two that are full for each that comes
// keeps up with those that have become so, and never takes long.
func (b *buckets[K]) room(now time.Time) {
	for range 2 {
		if oldest := b.used.Back(); oldest != nil && oldest.Value.(*pair[K]).full(now) {
			b.drop(oldest)
		}
	}
	if len(b.keys) >= b.capacity {
		b.drop(b.used.Back())
	}
}

func (p *pair[K]) full(now time.Time) bool { return p.requests.full(now) && p.tokens.full(now) }

func (b *buckets[K]) drop(e *list.Element) {
	delete(b.keys, e.Value.(*pair[K]).key)
	b.used.Remove(e)
}
