package shed

import (
	"context"
	"sync"
	"time"
)

// call is a call in flight. It is the context of its handler, so that what the
// handler does with that context can be told apart; an allocation less than a
// context beside it.
type call struct {
	context.Context
	shedder   *Shedder
	method    *method
	entered   time.Time
	alongside int

	mu     sync.Mutex // taken before the shedder's
	abroad int        // waits for others that are going on
	since  time.Time  // when the first of them began
	spent  time.Duration
	ended  bool // it has given its place back for good
}

type callKey struct{}

// Value finds the call itself, and what the context inside has.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Outside says that the call of this context now waits for somebody else: for
// another service, or for a party outside. The function that it returns says
// that the wait is over. In between the call has no place among those in flight,
// since nothing here works on it, and its time tells nothing about this server's
// own load: a dependency that hangs does not shut out what needs none of it. (How
// many may wait for one dependency is for that one's bulkhead.) Back again, the
// call goes on at once; it is too late to refuse it. Waits may overlap.
//
//	defer shed.Outside(ctx)()
//
// Waiting for the server's own database is not outside: it is short when the
// server is not overloaded, and a queue for its connections is an overload.
func Outside(ctx context.Context) (back func()) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return func() {}
	}
	c.depart()
	return c.comeBack
}

func (c *call) depart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abroad == 0 {
		c.since = time.Now()
		if !c.ended {
			c.shedder.giveBack()
		}
	}
	c.abroad++
}

func (c *call) comeBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abroad--
	if c.abroad == 0 {
		c.spent += time.Since(c.since)
		if !c.ended {
			c.shedder.takeAgain()
		}
	}
}

// end says that the call needs its place no more, and reports whether it has it.
func (c *call) end() (has bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	has = !c.ended && c.abroad == 0
	c.ended = true
	return has
}

// outside is how long the call has waited for others.
func (c *call) outside(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abroad > 0 {
		return c.spent + now.Sub(c.since)
	}
	return c.spent
}
