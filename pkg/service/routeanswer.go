package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// callContext is the context that the interceptors of a route see: what the
// gateway's server would have got of the request.
func callContext(r *http.Request, credentials []string) context.Context {
	ctx := r.Context()
	md := metadata.MD{}
	for header, name := range incoming {
		if values := r.Header[header]; len(values) > 0 {
			md[name] = values
		}
	}
	if len(credentials) > 0 {
		md["authorization"] = credentials
	}
	for name, values := range tellClient(ctx, r) {
		md[name] = values
	}
	from := &peer.Peer{}
	if remote, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from.Addr = net.TCPAddrFromAddrPort(remote)
	}
	from.LocalAddr, _ = ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return peer.NewContext(metadata.NewIncomingContext(ctx, md), from)
}

// routeStream is a stream to the interceptors: none of its messages are messages,
// what it says in headers and trailers becomes headers of the answer.
type routeStream struct {
	ctx    context.Context // a stream is asked for its context
	method string

	mu       sync.Mutex
	header   http.Header // of the answer; not ours any more once it was sent
	trailers metadata.MD
}

var _ grpc.ServerStream = (*routeStream)(nil)

func newRouteStream(method string, w http.ResponseWriter) *routeStream {
	return &routeStream{method: method, header: w.Header()}
}

// Context is the call's.
func (s *routeStream) Context() context.Context { return s.ctx }

// SetHeader sets those headers that HTTP clients are told, if it is not too late.
func (s *routeStream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, values := range md {
		if header, told := matchOutgoing(name); told && s.header != nil && len(values) > 0 {
			s.header.Set(header, values[0])
		}
	}
	return nil
}

// SendHeader is SetHeader: they are sent with the answer.
func (s *routeStream) SendHeader(md metadata.MD) error { return s.SetHeader(md) }

// SetTrailer keeps what is said until the answer begins.
func (s *routeStream) SetTrailer(md metadata.MD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailers = metadata.Join(s.trailers, md)
}

// begin has the headers of the answer say what trailers would.
func (s *routeStream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.header != nil {
		setFromTrailers(s.trailers, s.header)
		s.header = nil
	}
}

// SendMsg is how interceptors learn that something was sent.
func (s *routeStream) SendMsg(any) error { return nil }

// RecvMsg returns io.EOF: the body is not theirs to read.
func (s *routeStream) RecvMsg(any) error { return io.EOF }

// transportOf has functions such as [grpc.SetTrailer] find the stream.
type transportOf struct{ *routeStream }

var _ grpc.ServerTransportStream = transportOf{}

// Method is the full name of the RPC.
func (s transportOf) Method() string { return s.method }

// SetTrailer keeps what is said until the answer begins.
func (s transportOf) SetTrailer(md metadata.MD) error {
	s.routeStream.SetTrailer(md)
	return nil
}

// routeAnswer is the way back of one request of a route. It notes when it begins, and
// gives the client time to read each piece, so that the whole may take as long as
// it likes.
type routeAnswer struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	says     *routeStream
	// stream is as the handler would see it, behind all interceptors: one counts
	// its messages, one ends what counts as opening it with the first.
	stream grpc.ServerStream
	begun  bool
	until  time.Time // the connection's deadline
	broken error     // why it cannot be finished
}

// begin is done once, before the headers go.
func (a *routeAnswer) begin() {
	if a.begun {
		return
	}
	a.begun = true
	a.says.begin()
	if h := a.Header(); strings.HasPrefix(h.Get("Content-Type"), mimeEvents) {
		h.Set("X-Accel-Buffering", "no") // proxies that collect an answer would collect for ever
		if h.Get("Cache-Control") == "" {
			h.Set("Cache-Control", "no-store")
		}
	}
}

// WriteHeader sets the status.
func (a *routeAnswer) WriteHeader(status int) {
	if status >= http.StatusOK { // what comes before is no answer yet
		a.begin()
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write writes one piece.
func (a *routeAnswer) Write(piece []byte) (n int, err error) {
	a.begin()
	if err := a.stream.SendMsg(nil); err != nil {
		return 0, a.breaks(err)
	}
	if err := a.extend(); err != nil {
		return 0, a.breaks(err)
	}
	if n, err = a.ResponseWriter.Write(piece); err != nil {
		return n, a.breaks(err)
	}
	return n, nil
}

// FlushError sends what was written.
func (a *routeAnswer) FlushError() error {
	a.begin()
	if err := a.extend(); err != nil {
		return a.breaks(err)
	}
	if err := a.control.Flush(); err != nil {
		return a.breaks(err)
	}
	return nil
}

// Unwrap is for [http.ResponseController].
func (a *routeAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// extend gives the client time to read what is written next: patience at least, and
// an eighth of it more, so that the deadline of a stream of small pieces need not be
// moved for each.
func (a *routeAnswer) extend() error {
	now := time.Now()
	if a.until.Sub(now) >= a.patience {
		return nil
	}
	a.until = now.Add(a.patience + a.patience/8)
	return a.control.SetWriteDeadline(a.until)
}

func (a *routeAnswer) breaks(err error) error {
	if a.broken == nil {
		a.broken = err
	}
	return fmt.Errorf("writing the answer: %w", err)
}

// trustedLength is up to what length of a body the client is believed before it has
// come: who only says that it is long is not to have us make room for it.
const trustedLength = 1 << 20

// readBody reads a body of a request to its end.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength > 0 && r.ContentLength <= trustedLength {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, faultOf(unreadable(err)).typed()
		}
		return body, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, faultOf(unreadable(err)).typed()
	}
	return body, nil
}
