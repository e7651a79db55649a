package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Event is an event of a stream, and what it is. Its bytes are valid until the next
// call of Next.
type Event struct {
	wire.Event
	Kind wire.Kind
}

// Stream is an answer that has begun. It reads from the provider only when it is
// asked for an event, and only what its buffer holds: a caller that stops
// reading stops the provider, by TCP's or HTTP/2's flow control.
//
// It is for one goroutine. It must be closed, left or detached, which ends the
// request upstream.
type Stream struct {
	f      *flight
	reason func(otherwise Reason) Reason // why the attempt's context ended
	body   io.ReadCloser
	strip  bool // the caller did not ask for OpenAI's usage, we did

	events wire.Events
	seen   *wire.Stream
	queue  []Event
	next   int    // of the queue
	bytes  []byte // that the queue's events are in

	committed bool
	ended     bool   // the protocol's end was given to the caller
	pending   *fault // how the body ended, for when the queue is empty
	over      bool   // the body was read to its end
	read      int64
	outcome   Outcome
	err       error // of Next, from now on
}

// chunks are what streams are read into.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// chunkSize is above what a provider sends at once.
const chunkSize = 16 << 10

// endOfBody is how long, and how much, is read after the protocol's end, so that
// the connection can be used again.
const (
	endOfBody      = 250 * time.Millisecond
	endOfBodyBytes = 4 << 10
)

var (
	errCut   = errors.New("the stream was cut before its end")
	errEmpty = errors.New("the stream has no content")
)

// follow reads a stream to its first content.
func (f *flight) follow(ctx context.Context, answer *Answer, response *http.Response, strip bool) *fault {
	if !isEvents(response.Header) {
		defer response.Body.Close()
		return f.fail(&fault{reason: Garbled, err: fmt.Errorf("a stream was asked for, and %q came", response.Header.Get("Content-Type"))},
			Outcome{State: Unknown, UpstreamID: first(answer.Header["Request-Id"])})
	}
	s := &Stream{f: f, body: response.Body, strip: strip, seen: wire.NewStream(answer.Protocol)}
	s.reason = func(otherwise Reason) Reason { return endedBy(ctx, otherwise) }
	if broken := s.commit(); broken != nil {
		s.body.Close()
		return f.fail(broken, s.partial())
	}
	took := time.Since(f.began)
	f.arrived(response.StatusCode, took)
	f.leave.prove()
	f.w.d.metrics.firstToken.Record(ctx, took.Seconds(), f.target.meter.attributes)
	if readsOn(f.w.request.Route.Disconnect) {
		f.w.life.unfollow()
	}
	answer.Stream = s
	return nil
}

// readsOn says whether an answer is read on when its caller left. Then it is the
// caller who ends it, by [Stream.Leave].
func readsOn(d routes.Disconnect) bool { return d == routes.Drain || d == routes.Detach }

// commit reads until there is content.
func (s *Stream) commit() *fault {
	most := s.f.w.d.options.MaxEvent
	for at := 0; ; {
		for ; at < len(s.queue); at++ {
			switch s.queue[at].Kind {
			case wire.Content:
				s.committed = true
				s.f.alarm.off()
				return nil
			case wire.Failure:
				return s.failed()
			case wire.End:
				return &fault{reason: Empty, err: errEmpty}
			}
		}
		if len(s.bytes)+s.events.Buffered() > most {
			return &fault{reason: TooLarge, err: fmt.Errorf("the stream has no content in %d bytes", most)}
		}
		if broken := s.fill(); broken != nil {
			return broken
		}
	}
}

// Next returns the next event, and io.EOF after the protocol's own end. Any other
// error is a *[Failure] that is Committed: the caller has a part of the answer, and
// is owed being told so.
func (s *Stream) Next() (Event, error) {
	for s.err == nil {
		if s.next < len(s.queue) {
			e := s.queue[s.next]
			s.next++
			switch {
			case e.Kind == wire.Failure:
				s.fail(s.failed())
				continue
			case e.Kind == wire.UsageOnly && s.strip:
				continue
			case e.Kind == wire.End:
				s.ended = true
			}
			return e, nil
		}
		if s.ended {
			s.finish()
			s.err = io.EOF
			break
		}
		s.queue, s.next, s.bytes = s.queue[:0], 0, s.bytes[:0]
		if broken := s.fill(); broken != nil {
			s.fail(broken)
		}
	}
	return Event{}, s.err
}

// Ready says whether Next returns without waiting for the provider. What was
// written so far should be flushed when it does not.
func (s *Stream) Ready() bool { return s.err != nil || s.next < len(s.queue) }

// fill reads once, and queues the events that are whole. A fault is returned by the
// call after the one that met it: what came before it comes first.
func (s *Stream) fill() *fault {
	if s.pending != nil {
		return s.pending
	}
	if s.committed {
		s.f.alarm.set(s.f.w.request.Route.Timeouts.Idle, causeIdle)
		defer s.f.alarm.off()
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	n, err := s.body.Read(chunk[:])
	s.read += int64(n)
	if broken := s.take(chunk[:n]); broken != nil {
		s.pending = broken
		return nil
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		s.over = true
		s.pending = &fault{reason: Cut, err: errCut}
		if s.read == 0 {
			s.pending = &fault{reason: Empty, err: errEmpty}
		}
	default:
		s.pending = &fault{reason: s.reason(Cut), err: err}
	}
	return nil
}

// take cuts bytes into events, and queues copies of them.
func (s *Stream) take(chunk []byte) *fault {
	err := s.events.Feed(chunk, func(e wire.Event) error {
		if s.seen.Complete() {
			return nil // nobody says anything after the end
		}
		kind, err := s.seen.See(e)
		if err != nil {
			return err
		}
		s.queue = append(s.queue, Event{Kind: kind, Event: wire.Event{Raw: s.keep(e.Raw), Name: s.keep(e.Name), Data: s.keep(e.Data)}})
		return nil
	})
	switch {
	case errors.Is(err, wire.ErrEventTooLong):
		return &fault{reason: TooLarge, err: err}
	case err != nil:
		return &fault{reason: Garbled, err: err}
	default:
		return nil
	}
}

// keep copies bytes to where they stay until the queue is empty.
func (s *Stream) keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	from := len(s.bytes)
	s.bytes = append(s.bytes, b...)
	return s.bytes[from:len(s.bytes):len(s.bytes)]
}

// failed is the error that the provider broke off with.
func (s *Stream) failed() *fault {
	e := s.seen.Failed()
	if e == nil {
		return &fault{reason: Garbled, err: errCut}
	}
	return &fault{provider: s.f.redacted(e)}
}

// partial is what is known of the bill of a stream that has not come to its end.
func (s *Stream) partial() Outcome {
	u, exact := s.seen.Usage()
	o := Outcome{State: Unknown, Usage: u, Exact: exact, UpstreamID: s.seen.ID(), Finish: s.seen.Finish()}
	if !exact {
		o.Usage.Output = max(u.Output, s.seen.Produced())
	}
	switch {
	case u.Input+u.CacheRead+u.CacheWrite+u.CacheWrite1h > 0:
		o.State = Billed
	case len(s.queue) > 0 && s.queue[0].Kind == wire.Failure && !s.committed:
		o.State = Failed // an error in place of an answer, only later than its status
	}
	return o
}

// fail ends a stream that the caller has a part of.
func (s *Stream) fail(broken *fault) {
	w := s.f.w
	j := w.d.options.judge(s.f.link.Provider.Protocol, broken, w.attempts)
	w.rest(s.f, j)
	f := &Failure{
		Reason: j.reason, Status: statusFor(j.reason, broken.provider), Committed: true, Permanent: j.reason == Invalid,
		Last: broken.provider, Protocol: s.f.link.Provider.Protocol, Cause: broken.err, Path: w.tries, Attempts: w.attempts,
	}
	if j.again {
		f.RetryAfter = j.pause
	}
	s.f.fail(broken, s.partial())
	s.end(j.reason, j.against, s.f.outcome)
	s.err = f
}

// finish ends a stream that came to its end.
func (s *Stream) finish() {
	s.f.alarm.set(endOfBody, causeIdle)
	for left := endOfBodyBytes; left > 0 && !s.over && s.pending == nil; {
		var rest [512]byte
		n, err := s.body.Read(rest[:])
		left -= n
		s.over = err != nil
	}
	o := s.partial()
	o.State, o.Reason = Billed, OK
	s.end(OK, Nobody, o)
}

func (s *Stream) end(reason Reason, against Level, o Outcome) {
	s.outcome = o
	s.body.Close()
	s.f.land(reason, against, o)
	s.f.w.life.end(causeClosed)
}

// Outcome is how the attempt ended, for the books: once Next has returned an error,
// or after Close.
func (s *Stream) Outcome() Outcome { return s.outcome }

// Close ends the stream wherever it is, and the request upstream with it. What was
// seen is its Outcome.
func (s *Stream) Close() error {
	s.close()
	return nil
}

func (s *Stream) close() {
	switch {
	case s.err != nil:
	case s.ended:
		s.finish()
		s.err = io.EOF
	default:
		s.fail(&fault{reason: CallerLeft, err: causeClosed})
	}
}
