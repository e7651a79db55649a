package dispatch

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Hint is what a provider says about coming back.
type Hint struct {
	// Should is what x-should-retry says; nil if it says nothing.
	Should *bool
	// After is how long to wait, and Said whether anybody said so.
	After time.Duration
	Said  bool
}

// longestHint bounds what is believed: beyond a day nobody waits anyway.
const longestHint = 24 * time.Hour

// ReadHint reads the headers that the providers' own SDKs obey: x-should-retry,
// then retry-after-ms, then retry-after in seconds, which may be a fraction, or
// as a date (RFC 9110, section 10.2.3).
func ReadHint(h http.Header, now time.Time) Hint {
	var hint Hint
	switch h.Get("X-Should-Retry") {
	case "true":
		hint.Should = new(true)
	case "false":
		hint.Should = new(false)
	}
	if ms, ok := number(h.Get("Retry-After-Ms")); ok {
		hint.After, hint.Said = scaled(ms, time.Millisecond), true
		return hint
	}
	value := h.Get("Retry-After")
	if seconds, ok := number(value); ok {
		hint.After, hint.Said = scaled(seconds, time.Second), true
	} else if at, err := http.ParseTime(value); err == nil {
		hint.After, hint.Said = min(max(0, at.Sub(now)), longestHint), true
	}
	return hint
}

// number reads what can be a time: finite, and not in the past.
func number(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && n >= 0 && !math.IsInf(n, 0)
}

func scaled(n float64, unit time.Duration) time.Duration {
	if n >= float64(longestHint/unit) {
		return longestHint
	}
	return time.Duration(n * float64(unit))
}

// backoff is how long to wait before attempt n+1 if nobody says: 0.5 s doubled,
// at most 8 s, less up to a quarter of it by chance, as the SDKs of both
// providers do, so that a gateway before them changes nothing.
func (o Options) backoff(n int) time.Duration {
	bound := o.MaxBackoff
	if n = max(n-1, 0); n < 16 { // no overflow
		bound = min(bound, o.Backoff<<n)
	}
	return bound - rand.N(bound/4+1)
}
