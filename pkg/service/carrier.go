package service

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Streams over HTTP. The gateway passes a stream on as JSON, one value a line, or
// as server-sent events to who asks for them; see [eventStream]. What is here is
// what an answer needs that has no end: times that hold for each write and not
// for the whole, headers that do not wait for the first message, and a sign of
// life while there is nothing to say.

// carrier is the way back of one HTTP request. It is a plain ResponseWriter until
// a stream begins.
type carrier struct {
	http.ResponseWriter
	control *http.ResponseController
	// events: the client asked for server-sent events.
	events bool
	// patience is how long the client may take to read one piece.
	patience time.Duration
	// heartbeat is how long there may be silence.
	heartbeat time.Duration
	// leave ends the request when a heartbeat finds the client gone.
	leave context.CancelFunc

	mu      sync.Mutex // between messages and heartbeats
	open    bool
	wrote   time.Time // the last piece
	done    chan struct{}
	beating sync.WaitGroup
}

// carry is the middleware that gives every request its carrier.
func carry(cfg Config) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, pathParams map[string]string) {
			c := &carrier{
				ResponseWriter: w, control: http.NewResponseController(w),
				patience: cfg.patience(), heartbeat: cfg.StreamHeartbeat,
			}
			if wantsEvents(r) {
				c.events = true
				// The gateway compares the header as a whole.
				r.Header.Set("Accept", mimeEvents)
				var ctx context.Context
				ctx, c.leave = context.WithCancel(r.Context())
				defer c.leave()
				r = r.WithContext(ctx)
			}
			defer c.end()
			next(c, r, pathParams)
		}
	}
}

// wantsEvents reports whether a request accepts server-sent events by name.
func wantsEvents(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		if slices.ContainsFunc(strings.Split(accept, ","), func(one string) bool {
			media, _, err := mime.ParseMediaType(one)
			return err == nil && media == mimeEvents
		}) {
			return true
		}
	}
	return false
}

// begin turns the answer into a stream: the times of a whole request do not hold
// any more, and the client learns that it was accepted.
func (c *carrier) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.extend(); err != nil {
		return err
	}
	header := c.Header()
	// Who comes back comes back on another connection, which may lead elsewhere.
	header.Set("Connection", "close")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // proxies that collect an answer would collect for ever
	header.Set("Content-Type", mimeLines)
	if c.events {
		header.Set("Content-Type", mimeEvents)
	}
	c.ResponseWriter.WriteHeader(http.StatusOK)
	c.open, c.wrote = true, time.Now()
	if c.events {
		if _, err := io.WriteString(c.ResponseWriter, beginningOfEvents); err != nil {
			return err
		}
		c.done = make(chan struct{})
		c.beating.Go(c.beat)
	}
	return c.control.Flush()
}

// extend gives the client time to read what is written next.
func (c *carrier) extend() error { return c.control.SetWriteDeadline(time.Now().Add(c.patience)) }

// beat writes a comment whenever there was silence for too long.
func (c *carrier) beat() {
	timer := time.NewTimer(c.heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.done:
			return
		}
		next, err := c.pulse()
		if err != nil {
			c.leave()
			return
		}
		timer.Reset(next)
	}
}

// pulse writes a comment if it is time to, and returns when it may be again.
func (c *carrier) pulse() (next time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := c.heartbeat - time.Since(c.wrote); left > 0 {
		return left, nil
	}
	if err := c.extend(); err != nil {
		return 0, err
	}
	c.wrote = time.Now()
	if _, err := io.WriteString(c.ResponseWriter, comment); err != nil {
		return 0, err
	}
	return c.heartbeat, c.control.Flush()
}

// end ends what begin started.
func (c *carrier) end() {
	if c.done != nil {
		close(c.done)
		c.beating.Wait()
	}
}

// Write writes one piece.
func (c *carrier) Write(piece []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		c.wrote = time.Now()
	}
	if err := c.extend(); err != nil { // after a call as well: its method says how long that may take
		return 0, err
	}
	return c.ResponseWriter.Write(piece)
}

// WriteHeader sets the status, unless a stream has begun: then it was sent.
func (c *carrier) WriteHeader(status int) {
	if !c.open {
		c.ResponseWriter.WriteHeader(status)
	}
}

// FlushError sends what was written.
func (c *carrier) FlushError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.control.Flush()
}

// streamsApart opens streams on a connection of their own, so that those who watch
// take no place from those who ask. A stream that is refused is an error at once
// and not of the first message: the answer can still be what it is for every
// other request.
func streamsApart(streams *grpc.ClientConn) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, _ *grpc.ClientConn, method string, _ grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := streams.NewStream(ctx, desc, method, opts...)
		if err != nil || desc.ClientStreams {
			return stream, err
		}
		return openingStream{stream}, nil
	}
}

// openingStream is a stream of answers whose request is not sent yet.
type openingStream struct{ grpc.ClientStream }

// CloseSend ends the request, and waits whether it is accepted: then there are
// headers, else there is an error alone.
func (s openingStream) CloseSend() error {
	if err := s.ClientStream.CloseSend(); err != nil {
		return err
	}
	header, err := s.Header()
	if err != nil || header != nil {
		return err
	}
	if err := s.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // a stream of nothing
}
