package resilience

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// judge says what the error of an attempt means that began at a time. Caller is
// the context of the call, attempt that of the attempt.
func (c *call) judge(caller, attempt context.Context, began time.Time, err error, trailer metadata.MD) outcome {
	code := status.Code(err)
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return outcome{err: err}
	case code == codes.DeadlineExceeded || code == codes.Canceled:
		return c.judgeTime(caller, attempt, began, err)
	}
	o := outcome{err: err, health: healthOf(code)}
	typed, ok := apierror.Typed(err)
	if ok && leaving(typed.Reason()) {
		o.health = Neutral
	}
	o.after, o.final = pushback(err, trailer)
	switch code {
	case codes.Unavailable:
		o.retry = true
	case codes.ResourceExhausted, codes.Aborted:
		// Without a time to come back at, it is not known to pass.
		o.retry = o.after > 0
	default:
		o.retry = false
	}
	if ok && typed.Retry() != apierror.RetrySameKey {
		o.retry = false
	}
	o.retry = o.retry && !o.final && c.method.mayRepeat(caller)
	return o
}

// judgeTime is for attempts that time ended: our own timeout, the caller's
// deadline, or a server that gave up.
func (c *call) judgeTime(caller, attempt context.Context, began time.Time, err error) outcome {
	o := outcome{err: err}
	ours := caller.Err() == nil && ranOut(attempt, caller, began)
	if ours || c.method.patient(time.Since(began)) {
		o.health = Failing
	}
	o.retry = ours && c.method.mayRepeat(caller)
	return o
}

// ranOut reports whether an attempt has used up the time that we gave it. The
// server has the same deadline, by its own clock and from its own start: it may
// be the first to give up.
func ranOut(attempt, caller context.Context, began time.Time) bool {
	deadline, ok := attempt.Deadline()
	if !ok {
		return false
	}
	if callers, ok := caller.Deadline(); ok && !deadline.Before(callers) {
		return false
	}
	return time.Until(deadline) <= deadline.Sub(began)/10
}

// healthOf says what a code says about who answered with it.
func healthOf(code codes.Code) Health {
	switch code {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.DataLoss:
		return Failing
	case codes.ResourceExhausted, codes.Canceled:
		return Neutral
	default:
		return Healthy // it answered; the request was wrong
	}
}

// leaving reports whether a peer that answers so is well, and only cannot take
// this request now.
func leaving(reason apierror.Reason) bool {
	switch reason {
	case apierror.ReasonDraining, apierror.ReasonOverloaded, apierror.ReasonBreakerOpen, apierror.ReasonRateLimited, apierror.ReasonTooManyStreams:
		return true
	default:
		return false
	}
}

// pushback reads what the server says about coming back: the trailer of gRFC A6,
// where a negative or unreadable value means never, or RetryInfo.
func pushback(err error, trailer metadata.MD) (after time.Duration, never bool) {
	if values := trailer.Get(pushbackTrailer); len(values) > 0 {
		ms, err := strconv.ParseInt(values[0], 10, 32)
		if err != nil || ms < 0 || len(values) > 1 {
			return 0, true
		}
		return time.Duration(ms) * time.Millisecond, false
	}
	st, _ := status.FromError(err)
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, info.GetRetryDelay().AsDuration()), false
		}
	}
	return 0, false
}
