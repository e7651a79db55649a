package limits

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// Why a queue takes nobody.
var (
	// ErrQueueFull says that as many wait as may.
	ErrQueueFull = errors.New("too many requests wait for the key")
	// ErrHopeless says that a turn would come after the caller's deadline.
	ErrHopeless = errors.New("the wait for the key would be longer than the request may take")
)

// Queue lets so many in at once and so many wait, in the order in which they came.
// Who cannot be served in time is told at once, and not when the time is up: the
// wait would be in vain, and would make it longer for those behind.
//
// How long a turn takes is estimated by how long the last ones took: an average
// that weighs each turn with 1/8, as TCP estimates round trips (RFC 6298). Before
// the first turn has ended nobody is hopeless.
type Queue struct {
	now func() time.Time

	mu         sync.Mutex
	concurrent int
	queued     int
	running    int
	waiting    *list.List // of chan struct{}, closed when it is one's turn
	turn       time.Duration
}

// NewQueue lets so many in at once, at least one, and so many wait.
func NewQueue(concurrent, queued int) *Queue { return newQueue(concurrent, queued, time.Now) }

func newQueue(concurrent, queued int, now func() time.Time) *Queue {
	return &Queue{now: now, concurrent: max(concurrent, 1), queued: queued, waiting: list.New()}
}

// Enter waits for a turn, which lasts until leave is called, once. An error is
// ErrQueueFull or ErrHopeless, and then retryAfter is when a turn might be had, 0 if
// nobody knows; or the context's.
func (q *Queue) Enter(ctx context.Context) (leave func(), retryAfter time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	q.mu.Lock()
	if q.running < q.concurrent { // then nobody waits
		q.running++
		q.mu.Unlock()
		return q.leave(), 0, nil
	}
	wait := q.estimate(q.waiting.Len())
	deadline, bounded := ctx.Deadline()
	switch {
	case q.waiting.Len() >= q.queued:
		err = ErrQueueFull
	case bounded && q.now().Add(wait).After(deadline):
		err = ErrHopeless
	}
	if err != nil {
		q.mu.Unlock()
		return nil, wait, err
	}
	mine := make(chan struct{})
	place := q.waiting.PushBack(mine)
	q.mu.Unlock()

	select {
	case <-mine:
		return q.leave(), 0, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-mine: // the turn came at the same time: the next one has it
		q.running--
		q.admit()
	default:
		q.waiting.Remove(place)
	}
	return nil, 0, ctx.Err()
}

// leave begins a turn and returns what ends it.
func (q *Queue) leave() func() {
	began := q.now()
	var once sync.Once
	return func() {
		once.Do(func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			took := max(q.now().Sub(began), 0)
			if q.turn == 0 {
				q.turn = took
			} else {
				q.turn += (took - q.turn) / 8
			}
			q.running--
			q.admit()
		})
	}
}

// admit gives the turns that are free to those who wait. The lock is held.
func (q *Queue) admit() {
	for q.running < q.concurrent && q.waiting.Len() > 0 {
		first := q.waiting.Front()
		q.waiting.Remove(first)
		q.running++
		close(first.Value.(chan struct{}))
	}
}

// estimate is how long someone waits with so many before him. Turns end evenly, so
// with c of them at once one ends every turn/c.
func (q *Queue) estimate(before int) time.Duration {
	return q.turn * time.Duration(before+1) / time.Duration(q.concurrent)
}

// Resize changes how many may be in at once, at least one, and how many may wait.
// Nobody who is in or waits is turned out.
func (q *Queue) Resize(concurrent, queued int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.concurrent, q.queued = max(concurrent, 1), queued
	q.admit()
}

// Load is how many are in and how many wait.
func (q *Queue) Load() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.waiting.Len()
}
