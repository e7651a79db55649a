package shed

import (
	"math"
	"slices"
	"time"
)

// limit is how many calls may be in flight, and how that is found. It measures
// pressure: how long a call took, over how long a call of its method may take
// before that is a sign of waiting (see [pace]). In windows of a tenth of a
// second, and of ten calls at least:
//
//	median pressure > 1                 limit × max(0.7, 1/median)
//	else, if half of it was used        limit + √limit
//
// so it grows by little and falls by a part, as TCP's window does (AIMD), and
// settles where calls take twice as long as at a calm time. The signal is that
// of TCP Vegas and of Netflix's concurrency-limits (Gradient2): the ratio of
// times, not the times. It differs from them in three things.
//
// What is compared with is not the shortest time ever seen, which a method with
// a quick path would have from there, nor a long average, which drifts upward
// during an overload until the overload looks normal. It is what the method
// takes while no more than the floor is in flight. That cannot be spoilt by an
// overload above the floor, and is learned anew whenever load is low.
//
// Each method is compared with itself. Traffic that shifts from quick methods
// to slow ones is no overload.
//
// Time spent waiting for other services is not counted ([Outside]). A server
// whose dependency is slow is not itself overloaded, and must not refuse what
// needs no dependency. WeChat's DAGOR (SoCC 2018) does not look at response
// times at all for this reason, but at the time spent in a queue of its own,
// which a server of goroutines does not have.
//
// # When the server itself became slower
//
// A database that takes three times as long looks like an overload. The limit
// falls, but the times do not fall with it, down to the floor; calls at the floor
// are by definition calm, so within some twenty of them the new times are what
// is compared with, and the limit grows again. So the floor is also the way back,
// and below it there is none: a floor of 1 and a dependency that takes 2 s would
// leave one call in two seconds.
//
// During a long overload nothing is calm. So after half a minute the limit is
// set to the floor for ten calls, to see what they take (as BBR does for its
// shortest round trip). Only while calls are refused: without that, the probe
// itself would refuse some.
type limit struct {
	min, max float64
	value    float64

	changed time.Time // what was let in before belongs to another limit
	opened  time.Time // when the window began
	peak    int       // most in flight during the window
	refused bool      // whether a call was refused during the window
	sample  [256]float64
	samples int

	calm    time.Time // when a calm call was last seen
	probing bool
	resume  float64 // the limit after probing
}

const (
	window     = 100 * time.Millisecond
	windowSize = 10
	steepest   = 0.7
	probeEvery = 30 * time.Second
)

func newLimit(c Config, now time.Time) limit {
	return limit{
		min: float64(c.Min), max: float64(c.Max), value: float64(c.Initial),
		opened: now, calm: now,
	}
}

// calls is the limit as a number of calls.
func (l *limit) calls() int { return int(l.value) }

// departure is a call that has left.
type departure struct {
	entered   time.Time
	elapsed   time.Duration // from then until now
	own       time.Duration // of it, not spent waiting for others
	alongside int           // calls in flight when it entered, itself included
	whole     bool          // it was answered without an error, and nobody had cut it short
}

// learn takes a call into account.
//
// Only a whole call tells how long one takes. A refusal, a missing row or a
// cancellation is quick without the server being so, and would teach that there
// is no overload. But if even such a call took too long, that is known: its
// time is a lower bound.
func (l *limit) learn(now time.Time, p *pace, d departure) {
	if d.whole {
		p.learnTypical(d.elapsed)
		if d.alongside <= int(l.min) {
			p.learnCalm(d.own)
			l.calm = now
		}
	}
	if p.calm == 0 || d.entered.Before(l.changed) {
		return
	}
	pressure := float64(d.own) / p.tolerated()
	if !d.whole && pressure <= 1 {
		return
	}
	l.sample[l.samples%len(l.sample)] = pressure
	l.samples++
	if l.samples >= windowSize && now.Sub(l.opened) >= window {
		l.adjust(now)
	}
}

// adjust sets the limit by what the window has shown, and opens another.
func (l *limit) adjust(now time.Time) {
	seen := l.sample[:min(l.samples, len(l.sample))]
	slices.Sort(seen)
	median := seen[len(seen)/2]
	before := l.value
	switch {
	case l.probing:
		l.probing, l.value = false, l.resume
		l.calm = now
	case median > 1:
		l.value = math.Max(l.min, l.value*math.Max(steepest, 1/median))
	case 2*l.peak >= l.calls():
		l.value = math.Min(l.max, l.value+math.Sqrt(l.value))
	}
	if l.refused && l.value > l.min && now.Sub(l.calm) >= probeEvery {
		l.probing, l.resume, l.value = true, l.value, l.min
	}
	if l.value != before {
		l.changed = now
	}
	l.opened, l.samples, l.peak, l.refused = now, 0, 0, false
}
