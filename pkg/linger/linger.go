// Package linger has an HTTP server read on after it has refused a request, so that
// the client gets to see the answer.
//
// A server that answers before it has read the body, say that the body is too
// large, and then closes the connection with bytes of it unread, has TCP send a
// RST. That throws away what the client has not read yet, the answer included: a
// client that sends first and reads then, and a proxy that is told of a failed
// write, see a broken connection where there was a 413. So a server lingers (RFC
// 9112, section 9.6): it answers, and reads what is still coming for a while.
//
// net/http does that only in part: not at all for a request with `Connection:
// close`, and otherwise for half a second in which it does not read.
package linger

import (
	"io"
	"net/http"
	"sync/atomic"
)

const (
	// small is a rest that is read before the answer is sent: the connection can then
	// be used again. It is what net/http would read.
	small = 256 << 10
	// Most is how much is read on at most, in bytes. The time for it is the rest of
	// the server's ReadTimeout.
	Most = 64 << 20
)

// Watch notes how much of the request's body is read. The handler calls finish when
// it has answered, and not if it panics.
func Watch(w http.ResponseWriter, r *http.Request) (finish func()) {
	if r.ContentLength == 0 || r.Body == nil {
		return func() {}
	}
	b := &body{raw: r.Body}
	r.Body = b
	length := r.ContentLength
	return func() {
		// net/http looks at what kind of body it is. Who waits to be told to continue has
		// sent none, and need not be waited for: that it knows itself.
		r.Body = b.raw
		if b.over.Load() || r.Header.Get("Expect") != "" {
			return
		}
		if left := length - b.read.Load(); length > 0 && left <= small {
			_, _ = io.CopyN(io.Discard, b.raw, left+1) // to the end, or as far as it goes
			return
		}
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex() // the answer does not wait for the body
		if control.Flush() == nil {
			_, _ = io.CopyN(io.Discard, b.raw, Most) // nobody is left to be told of a failure
		}
	}
}

// body is a request's body that remains to be read when its reader has closed it.
type body struct {
	raw    io.ReadCloser
	read   atomic.Int64
	over   atomic.Bool // there is no more of it
	closed atomic.Bool
}

// Read reads the body.
func (b *body) Read(into []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.raw.Read(into)
	b.read.Add(int64(n))
	if err != nil {
		b.over.Store(true) // the end, or why there is none
	}
	return n, err
}

// Close ends reading by whoever had the body. The server closes what is below.
func (b *body) Close() error {
	b.closed.Store(true)
	return nil
}
