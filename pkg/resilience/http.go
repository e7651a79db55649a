package resilience

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Transport is for a dependency that speaks HTTP: next (http.DefaultTransport if
// nil) behind retry, breaker and bulkhead. Timeout is for one attempt, to the end
// of its body; zero leaves that to the request's context.
//
// A request is sent again only if that does no harm and it can be: its method is
// idempotent (RFC 9110, section 9.2.2) or it carries an Idempotency-Key, and its
// body can be had again (http.Request.GetBody). One that never left, because no
// connection was made, is sent again whatever it is. Retry-After is obeyed, in
// seconds or as a date, as long as the deadline allows; else the caller gets the
// answer, unread.
func (d *Dependency) Transport(next http.RoundTripper, timeout time.Duration) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{d, next, &method{attempt: timeout, repeatable: true}}
}

type transport struct {
	dependency *Dependency
	next       http.RoundTripper
	method     *method
}

// RoundTrip makes the request, again where that helps.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	c := t.dependency.begin(ctx, t.method)
	for {
		c.attempts++
		response, o := t.once(&c, request)
		settled := o.err == nil && !o.retry && !o.final
		if settled || !c.again(ctx, o) {
			c.meter.done(c.attempts, o.err == nil && o.health != Failing)
			c.chain.note(c.attempts, !settled)
			return response, o.err
		}
		discard(response)
		again := request.Clone(ctx)
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		request = again
	}
}

// once makes one attempt. Its place in the bulkhead and its timeout last until
// the body is read or closed.
func (t *transport) once(c *call, request *http.Request) (*http.Response, outcome) {
	caller := request.Context()
	admitted, err := c.admit(caller)
	if err != nil {
		if request.Body != nil {
			request.Body.Close() // as RoundTrip must
		}
		return nil, outcome{err: err, final: true}
	}
	settle := sync.OnceFunc(func() { c.release() })
	answered := false
	defer func() {
		if !answered { // an error, or a panic
			settle()
		}
	}()
	ctx, cancel := t.attemptContext(caller)
	counted := false
	defer func() {
		if !counted {
			c.breaker.settle(admitted.permit, Neutral, 0)
		}
	}()
	response, err := t.next.RoundTrip(request.WithContext(ctx))
	took := time.Since(admitted.began)
	o := t.judge(request, response, err, took)
	counted = true
	c.breaker.settle(admitted.permit, o.health, took)
	if err != nil {
		cancel()
		return nil, o
	}
	if o.health == Healthy {
		t.method.latency.observe(took)
	}
	answered = true
	response.Body = &heldBody{response.Body, func() { settle(); cancel() }}
	return response, o
}

func (t *transport) attemptContext(caller context.Context) (context.Context, context.CancelFunc) {
	if t.method.attempt > 0 {
		return context.WithTimeout(caller, t.method.attempt)
	}
	return context.WithCancel(caller)
}

// judge says what an attempt means that took so long.
func (t *transport) judge(request *http.Request, response *http.Response, err error, took time.Duration) outcome {
	if err != nil {
		caller := request.Context().Err()
		if errors.Is(caller, context.Canceled) || (caller != nil && !t.method.patient(took)) {
			return outcome{err: err} // the caller gave up
		}
		// Our own timeout is a failure like any other.
		return outcome{err: err, health: Failing, retry: caller == nil && resendable(request, neverLeft(err))}
	}
	o := outcome{health: healthOfStatus(response.StatusCode)}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusOverloaded:
		o.retry = resendable(request, false)
		o.after = retryAfter(response.Header, time.Now())
	}
	return o
}

// statusOverloaded is what some providers say in place of 503.
const statusOverloaded = 529

func healthOfStatus(code int) Health {
	switch {
	case code == http.StatusTooManyRequests || code == statusOverloaded:
		return Neutral // it is well, and has had enough of us
	case code >= 500 && code != http.StatusNotImplemented:
		return Failing
	default:
		return Healthy
	}
}

// resendable reports whether the request can be sent again without harm.
func resendable(r *http.Request, neverLeft bool) bool {
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return false
	}
	if neverLeft || r.Header.Get("Idempotency-Key") != "" {
		return true
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete, "":
		return true
	default:
		return false
	}
}

// neverLeft reports whether no connection was made.
func neverLeft(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3); zero if
// there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// discard reads a little of what is left of an answer, so that its connection
// can be used again, and closes it.
func discard(response *http.Response) {
	if response == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // best effort
	response.Body.Close()
}

// heldBody gives something back when the body has been read or is closed.
type heldBody struct {
	io.ReadCloser
	done func()
}

// Read reads, and lets go at the end.
func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

// Close closes the body and lets go.
func (b *heldBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
