package limits

import (
	"math"
	"slices"
	"time"
)

// bucket is a token bucket that holds a minute's worth, and what a provider was
// seen to say of its own.
//
// It computes in floats. What is lost in rounding is far below slack, for any limit
// that there can be.
type bucket struct {
	perMinute float64 // also what it holds; 0: no limit
	level     float64 // at the time; below 0: a debt
	at        time.Time
	open      []*taken // in the order in which they were taken
	seen      observation
}

// taken is what a request took that has not ended.
//
// What it did not use cannot just be put back: the bucket may have filled up since,
// with what would have run over had less been taken. At a time the right level is
// the least, over all times before it, of what a bucket would hold that was full
// then; what was taken too much is missing only in those that were full before. So
// each request keeps the least of the others.
type taken struct {
	level float64 // of a bucket that was full just after it was taken
}

// observation is what a provider said of a limit: so much is left, and at the reset
// it is full again. In between it fills evenly, which is how the providers that
// document it do it; one that fills all at once is asked too early, and answers 429.
type observation struct {
	left, full float64   // full is 0 if it was not said
	flow       float64   // what comes in a nanosecond
	at, reset  time.Time // zero reset: nothing was said
}

// newObservation is of what was said now.
func newObservation(left, full int64, now, reset time.Time) *observation {
	o := &observation{left: float64(left), full: float64(full), at: now, reset: reset}
	if full > left {
		o.flow = (o.full - o.left) / float64(reset.Sub(now))
	}
	return o
}

// slack is what is missing of a token and not missed.
const slack = 1e-6

// adjust moves the bucket on to a time, and to a limit that may be another one than
// before. A new bucket is full.
func (b *bucket) adjust(perMinute int64, now time.Time) {
	if b.at.IsZero() {
		b.level, b.at = float64(perMinute), now
	}
	flow := 0.0
	if elapsed := now.Sub(b.at); elapsed > 0 {
		flow = b.perMinute * elapsed.Minutes()
		b.at = now
	}
	b.level += flow
	if b.perMinute == 0 { // there was no limit, so nothing was taken
		b.level = float64(perMinute)
	}
	b.perMinute = float64(perMinute)
	b.level = min(b.level, b.perMinute)
	for _, t := range b.open {
		t.level = min(t.level+flow, b.perMinute)
	}
	if !now.Before(b.seen.reset) {
		b.seen = observation{}
	}
}

// wait is how long it takes until so much may be taken; 0: now.
func (b *bucket) wait(tokens float64, now time.Time) time.Duration {
	var wait time.Duration
	if b.perMinute > 0 {
		if short := min(tokens, b.perMinute) - b.level; short > slack {
			wait = duration(short / b.perMinute * float64(time.Minute))
		}
	}
	return max(wait, b.seen.wait(tokens, now))
}

// wait is how long until the provider is believed to have so much.
func (o observation) wait(tokens float64, now time.Time) time.Duration {
	if o.reset.IsZero() {
		return 0
	}
	if o.full > 0 {
		tokens = min(tokens, o.full)
	}
	short := tokens - o.left
	switch {
	case short <= slack:
		return 0
	case o.flow == 0: // it did not say how much it holds, or it is all there
		return o.reset.Sub(now)
	}
	come := o.flow * float64(now.Sub(o.at))
	if short -= come; short <= slack {
		return 0
	}
	return min(o.reset.Sub(now), duration(short/o.flow))
}

// take takes, down to a debt. What it returns is to be given to correct, unless
// what was taken is not to be corrected.
func (b *bucket) take(tokens float64) *taken {
	b.seen.left -= tokens
	b.level -= tokens
	for _, t := range b.open {
		t.level -= tokens
	}
	return &taken{level: b.perMinute}
}

// keep has what was taken last corrected later.
func (b *bucket) keep(t *taken) { b.open = append(b.open, t) }

// correct gives back what was taken too much, or takes what was too little. It does
// so for our bucket: what the provider has left it says itself.
func (b *bucket) correct(t *taken, excess float64) {
	place := slices.Index(b.open, t)
	if place < 0 {
		return
	}
	b.level = min(b.level+excess, t.level)
	for _, before := range b.open[:place] {
		before.level = min(before.level+excess, t.level)
	}
	b.open = slices.Delete(b.open, place, place+1)
}

// observe believes what the provider said.
func (b *bucket) observe(o observation) { b.seen = o }

// full says whether the bucket is as good as none.
func (b *bucket) full(now time.Time) bool {
	return !now.Before(b.seen.reset) && (b.perMinute == 0 || b.level+b.perMinute*now.Sub(b.at).Minutes() >= b.perMinute)
}

// duration rounds up to what a caller's timer can tell.
func duration(nanos float64) time.Duration {
	const longest = 24 * time.Hour
	if !(nanos < float64(longest)) {
		return longest
	}
	return (time.Duration(math.Ceil(nanos)) + time.Millisecond - 1).Truncate(time.Millisecond)
}
