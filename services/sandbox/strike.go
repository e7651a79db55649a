package sandbox

import (
	"net"
	"net/http"
	"time"
)

// strike does the work and answers, except as far as the fault prevents it.
func (a *API) strike(w http.ResponseWriter, r *http.Request, f Fault, work func() (any, error)) {
	switch f.Kind {
	case FaultTimeout, FaultDrop, FaultReset, FaultError, FaultUnavailable:
		if f.When == After {
			if _, err := work(); err != nil {
				a.fail(w, err)
				return
			}
		}
		a.withhold(w, r, f)
		return
	case FaultRateLimit:
		w.Header().Set("Retry-After", retryAfter(f.Delay))
		writeError(w, http.StatusTooManyRequests, "rate_limited", "too many requests (scripted)")
		return
	case FaultSlow:
		if !wait(r, f.Delay) {
			panic(http.ErrAbortHandler) // the client left, or we do: nothing was done
		}
	case FaultDuplicate:
		if _, err := work(); err != nil {
			a.fail(w, err)
			return
		}
	}
	value, err := work()
	if err != nil {
		a.fail(w, err)
		return
	}
	a.answer(w, value)
}

// withhold ends a request without the answer.
func (a *API) withhold(w http.ResponseWriter, r *http.Request, f Fault) {
	switch f.Kind {
	case FaultError:
		writeError(w, http.StatusInternalServerError, "scripted_error", "a scripted fault")
	case FaultUnavailable:
		writeError(w, http.StatusServiceUnavailable, "unavailable", "a scripted fault")
	case FaultTimeout:
		wait(r, f.Delay)
		panic(http.ErrAbortHandler)
	case FaultReset:
		reset(w)
	default:
		panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
	}
}

// wait waits for the delay and answers whether the client is still there.
func wait(r *http.Request, d Duration) bool {
	timer := time.NewTimer(time.Duration(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// reset ends the connection with RST: a linger of zero throws away what is
// queued and sends no FIN.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // not HTTP/1: dropping is the nearest thing
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close is a plain one
	}
	conn.Close()
}
