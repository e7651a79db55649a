package llm

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// errCut says that the body has reached the byte at which a fault cuts it.
var errCut = errors.New("cut")

// wire writes a body, as a fault wants it.
type wire struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	fault   Fault
	written int64
}

func newWire(w http.ResponseWriter, r *http.Request, f Fault) *wire {
	return &wire{w: w, r: r, control: http.NewResponseController(w), fault: f}
}

// send writes a part of the body and sends it off.
func (o *wire) send(data []byte) error {
	switch {
	case o.fault.Kind == FaultCut && o.fault.Chunks == 0:
		if left := o.fault.Bytes - o.written; int64(len(data)) > left {
			if err := o.flush(data[:left]); err != nil {
				return err
			}
			return errCut
		}
	case o.fault.Kind == FaultTrickle:
		for len(data) > 0 {
			n := min(int64(len(data)), o.fault.Bytes)
			if !wait(o.r.Context(), o.fault.wait()) {
				return o.r.Context().Err()
			}
			if err := o.flush(data[:n]); err != nil {
				return err
			}
			data = data[n:]
		}
		return nil
	}
	return o.flush(data)
}

func (o *wire) flush(data []byte) error {
	n, err := o.w.Write(data)
	o.written += int64(n)
	if err != nil {
		return err
	}
	return o.control.Flush()
}

// hangUp ends the connection, with whatever was sent until now.
func hangUp(w http.ResponseWriter, end End) {
	switch end {
	case EndClean:
	case EndReset:
		reset(w)
	default:
		panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
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

// wait is the fault's delay.
func (f Fault) wait() time.Duration { return time.Duration(f.Delay) }
