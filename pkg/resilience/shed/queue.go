package shed

import (
	"container/list"
	"time"
)

// queue has the calls that wait for room, by class.
//
// As long as it is short-lived it is a burst, and served in order. When it has
// stood for a tenth of a second it is an overload, and served newest first: all
// calls cannot be served, and those that came last have the best chance to be
// of use to somebody. For the same reason a full queue that stands gives up its
// oldest call for a new one. ("Fail at Scale", ACM Queue 13/8, 2015: adaptive
// LIFO, and CoDel's idea that a queue which does not empty is too long. CoDel's
// other half, a shorter wait while the queue stands, adds nothing here: those
// that are served have waited least, and those that are not are pushed out.)
type queue struct {
	classes [classes]list.List // of *waiter, the oldest in front
	length  int
	since   time.Time // when it last stopped being empty
}

// standing is how long a queue that never empties is taken for a burst; CoDel's
// interval.
const standing = 100 * time.Millisecond

// waiter is a call in the queue.
type waiter struct {
	class   class
	element *list.Element // nil when it is in the queue no more
	// decided gets one verdict when the call leaves the queue by another's hand.
	decided   chan bool // true: it is let in; false: it is pushed out
	entered   time.Time // when it was let in
	alongside int
}

func (q *queue) stands(now time.Time) bool {
	return q.length > 0 && now.Sub(q.since) >= standing
}

func (q *queue) add(now time.Time, c class) *waiter {
	if q.length == 0 {
		q.since = now
	}
	w := &waiter{class: c, decided: make(chan bool, 1)}
	w.element = q.classes[c].PushBack(w)
	q.length++
	return w
}

// remove takes a call out.
func (q *queue) remove(w *waiter) {
	q.classes[w.class].Remove(w.element)
	w.element = nil
	q.length--
}

// next is the call that is served next, or nil.
func (q *queue) next(now time.Time) *waiter {
	for c := classes - 1; c >= 0; c-- {
		element := q.classes[c].Front()
		if q.stands(now) {
			element = q.classes[c].Back()
		}
		if element != nil {
			return element.Value.(*waiter)
		}
	}
	return nil
}

// victim is the call that gives up its place for one of class c, or nil: the
// oldest of the least important class, if that is less important, or as
// important in a queue that stands.
func (q *queue) victim(now time.Time, c class) *waiter {
	for candidate := range class(classes) {
		if candidate > c || (candidate == c && !q.stands(now)) {
			return nil
		}
		if element := q.classes[candidate].Front(); element != nil {
			return element.Value.(*waiter)
		}
	}
	return nil
}
