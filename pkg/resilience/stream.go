package resilience

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// StreamClientInterceptor opens streams through breaker and bulkhead, which they
// hold until they end. A stream of answers to one request is opened again, by
// the rules of a retry, as long as nothing of it has reached the caller; later
// only the caller knows where to resume. Streams are never hedged.
//
// As gRPC asks, the caller must read a stream to its end or cancel its context.
func (d *Dependency) StreamClientInterceptor() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, name string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s := &stream{
			call:    d.begin(ctx, d.method(name)),
			ctx:     ctx,
			replays: desc.ServerStreams && !desc.ClientStreams,
		}
		s.open = func(ctx context.Context) (grpc.ClientStream, error) {
			return streamer(ctx, desc, conn, name, opts...)
		}
		if err := s.connect(ctx); err != nil {
			return nil, err
		}
		return s, nil
	}
}

// stream is a client stream and the attempt that it is now.
type stream struct {
	call
	ctx     context.Context // of the whole stream, as gRPC's own has
	open    func(ctx context.Context) (grpc.ClientStream, error)
	replays bool // one request, which can be sent again

	grpc.ClientStream // of this attempt
	current           *streamAttempt

	request   any  // what to send again; nil: nothing was sent yet
	closed    bool // CloseSend was called
	delivered bool // a message reached the caller
}

// connect makes attempts until a stream is open or none would help.
func (s *stream) connect(ctx context.Context) error {
	for {
		s.attempts++
		o := s.attempt(ctx)
		if o.err == nil {
			return nil
		}
		if !s.again(ctx, o) {
			s.end(o)
			return o.err
		}
	}
}

// attempt opens the stream once, and sends again what was sent before.
func (s *stream) attempt(caller context.Context) outcome {
	admitted, err := s.admit(caller)
	if err != nil {
		return outcome{err: err, final: true}
	}
	ctx, cancel := context.WithCancel(caller)
	a := &streamAttempt{dependency: s.Dependency, admitted: admitted, cancel: cancel}
	// A caller that leaves reads no further: this is then the only end.
	a.forget = context.AfterFunc(caller, func() { a.settle(Neutral) })
	opened := false
	defer func() { // a panic below must not keep the permit
		if !opened {
			a.settle(Neutral)
		}
	}()
	client, err := s.open(s.chain.outgoing(ctx, s.attempts))
	opened = true
	if err == nil && s.request != nil {
		err = resend(client, s.request, s.closed)
	}
	if err != nil {
		o := s.judge(caller, ctx, admitted.began, err, nil)
		a.settle(o.health)
		return o
	}
	s.ClientStream, s.current = client, a
	return outcome{}
}

// resend sends what a stream that broke had been sent. A stream that is broken
// already tells so when it is read.
func resend(client grpc.ClientStream, request any, closed bool) error {
	if err := client.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if closed {
		return client.CloseSend()
	}
	return nil
}

// SendMsg sends a message. That of a stream which can be replayed is kept until
// the first answer, and must not be changed.
func (s *stream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if !s.replays {
		return err
	}
	s.request = m
	if errors.Is(err, io.EOF) {
		return nil // broken: receiving tells how, and may mend it
	}
	return err
}

// CloseSend says that nothing more will be sent.
func (s *stream) CloseSend() error {
	s.closed = true
	return s.ClientStream.CloseSend()
}

// RecvMsg receives the next message, or how the stream ended.
func (s *stream) RecvMsg(m any) error {
	for {
		err := s.ClientStream.RecvMsg(m)
		if err == nil {
			s.deliver()
			return nil
		}
		if errors.Is(err, io.EOF) {
			s.current.settle(Healthy)
			s.end(outcome{})
			return err
		}
		o := s.judge(s.ctx, s.ctx, s.current.admitted.began, err, s.Trailer())
		s.current.settle(o.health)
		if s.delivered || !s.replays {
			o.retry = false // only the caller knows where to go on
		}
		if !s.again(s.ctx, o) {
			s.end(o)
			return err
		}
		if err := s.connect(s.ctx); err != nil {
			return err
		}
	}
}

// deliver notes that the caller has something of this stream.
func (s *stream) deliver() {
	if s.delivered {
		return
	}
	s.delivered, s.request = true, nil
	s.method.latency.observe(time.Since(s.current.admitted.began))
	s.current.prove()
}

func (s *stream) end(o outcome) {
	s.meter.done(s.attempts, o.err == nil)
	s.chain.note(s.attempts, o.err != nil && (o.retry || o.final))
}

// streamAttempt is one opening of a stream. It ends once, whether the stream
// ends or its caller leaves.
type streamAttempt struct {
	dependency *Dependency
	cancel     context.CancelFunc
	forget     func() bool // the caller's leaving

	mu       sync.Mutex
	admitted admission
	settled  bool
}

// settle gives back what the stream held. How long it lived says nothing.
func (a *streamAttempt) settle(h Health) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settled {
		return
	}
	a.settled = true
	a.dependency.release()
	a.dependency.breaker.settle(a.admitted.permit, h, 0)
	a.cancel()
	if a.forget != nil {
		a.forget()
	}
}

// prove settles a probe of the breaker with the first message: it has shown what
// it was sent to show, and the stream may live for hours.
func (a *streamAttempt) prove() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.settled && a.admitted.permit.probe {
		a.dependency.breaker.settle(a.admitted.permit, Healthy, 0)
		a.admitted.permit.counts = false
	}
}
