package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// expired is the cause of a context that this package ended.
type expired struct{ reason Reason }

func (e *expired) Error() string { return string(e.reason) }

var (
	causeConnect    = &expired{ConnectTimeout}
	causeFirstToken = &expired{FirstTokenTimeout}
	causeAnswer     = &expired{AnswerTimeout}
	causeIdle       = &expired{IdleTimeout}
	causeTotal      = &expired{TotalTimeout}
	causeCaller     = &expired{CallerLeft}
	causeClosed     = &expired{CallerLeft}
)

// endedBy is why the context ended; otherwise if it did not, or not by us.
func endedBy(ctx context.Context, otherwise Reason) Reason {
	var e *expired
	if errors.As(context.Cause(ctx), &e) {
		return e.reason
	}
	return otherwise
}

// lifetime is that of a request with all its attempts and its stream. It ends
// with the caller's context, for as long as it follows that, and with the
// route's total timeout.
type lifetime struct {
	cancel   context.CancelCauseFunc
	total    *time.Timer
	unfollow func() bool
}

// begin returns the context of a request that is over at the deadline.
func begin(caller context.Context, deadline time.Time) (context.Context, *lifetime) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(caller))
	l := &lifetime{cancel: cancel}
	if !deadline.IsZero() {
		l.total = time.AfterFunc(time.Until(deadline), func() { cancel(causeTotal) })
	}
	l.unfollow = context.AfterFunc(caller, func() {
		if errors.Is(caller.Err(), context.DeadlineExceeded) {
			cancel(causeTotal)
			return
		}
		cancel(causeCaller)
	})
	return ctx, l
}

// end ends it.
func (l *lifetime) end(cause error) {
	l.cancel(cause)
	l.unfollow()
	if l.total != nil {
		l.total.Stop()
	}
}

// alarm ends an attempt's context when its phase takes too long: connecting, then
// the first token, then each silence. One timer serves them all.
type alarm struct {
	timer *time.Timer
	cause atomic.Pointer[expired]
}

func newAlarm(cancel context.CancelCauseFunc) *alarm {
	a := &alarm{}
	a.timer = time.AfterFunc(time.Hour, func() { cancel(a.cause.Load()) })
	a.timer.Stop()
	return a
}

// set begins a phase; after zero it never ends.
func (a *alarm) set(after time.Duration, cause *expired) {
	a.timer.Stop()
	if after > 0 {
		a.cause.Store(cause)
		a.timer.Reset(after)
	}
}

func (a *alarm) off() { a.timer.Stop() }

// sleep waits, and reports whether it waited to the end.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
