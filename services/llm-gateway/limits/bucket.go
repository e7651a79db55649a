package limits

import (
	"math"
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
	seen      observation
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
const slack = 1e-3

// adjust moves the bucket on to a time, and to a limit that may be another one than
// before. A new bucket is full.
func (b *bucket) adjust(perMinute int64, now time.Time) {
	if b.at.IsZero() {
		b.level, b.at = float64(perMinute), now
	}
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.level += b.perMinute * elapsed.Minutes()
		b.at = now
	}
	if b.perMinute == 0 { // there was no limit, so nothing was taken
		b.level = float64(perMinute)
	}
	b.perMinute = float64(perMinute)
	b.level = min(b.level, b.perMinute)
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

// take takes, down to a debt.
func (b *bucket) take(tokens float64) {
	if b.perMinute > 0 {
		b.level -= tokens
	}
	b.seen.left -= tokens
}

// give gives back to our bucket. What the provider has left it says itself.
func (b *bucket) give(tokens float64) {
	if b.perMinute > 0 {
		b.level = min(b.level+tokens, b.perMinute)
	}
}

// observe believes what the provider said.
func (b *bucket) observe(o observation) { b.seen = o }

// full says whether the bucket is as good as none.
func (b *bucket) full(now time.Time) bool {
	return !now.Before(b.seen.reset) && b.level+b.perMinute*now.Sub(b.at).Minutes() >= b.perMinute
}

// duration rounds up to what a caller's timer can tell.
func duration(nanos float64) time.Duration {
	const longest = 24 * time.Hour
	if !(nanos < float64(longest)) {
		return longest
	}
	return (time.Duration(math.Ceil(nanos)) + time.Millisecond - 1).Truncate(time.Millisecond)
}
