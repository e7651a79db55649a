package llmgateway

import (
	"bytes"
	"context"
	"net/http"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// maxKept is the longest stream that is kept for a repeat, in bytes. A repeat of a
// longer one is told that there is nothing to repeat.
const maxKept = 8 << 20

// relay passes a stream on byte for byte, in the protocol that it came in.
func (x *exchange) relay(ctx context.Context, w http.ResponseWriter) error {
	to := &relaySink{w: w, control: http.NewResponseController(w), protocol: x.Protocol, keeps: x.ask.key != ""}
	w.WriteHeader(x.Status)
	last, err := x.follow(ctx, to)
	if err != nil {
		problem := problemOf(x.Protocol, err)
		problem.RequestID = w.Header().Get("X-Request-Id")
		last = x.Protocol.ErrorEvent(problem)
	}
	if _, failed := w.Write(last); failed == nil {
		_ = to.control.Flush() // the client may have left, which changes nothing any more
	}
	return err
}

// relaySink is a client of a wire protocol.
type relaySink struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	protocol wire.Protocol
	keeps    bool
	all      bytes.Buffer
	tooMuch  bool
}

// send writes the event as it came. The last one is not for it: see follow.
func (s *relaySink) send(e dispatch.Event, more, left bool) error {
	if s.keeps && !s.tooMuch {
		s.all.Write(e.Raw)
		s.tooMuch = s.all.Len() > maxKept
	}
	if left || e.Kind == wire.End {
		return nil
	}
	if _, err := s.w.Write(e.Raw); err != nil {
		return err
	}
	if more {
		return nil
	}
	return s.control.Flush()
}

func (s *relaySink) ping() error {
	if _, err := s.w.Write(s.protocol.PingEvent()); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *relaySink) kept() *ledger.Stored {
	if !s.keeps || s.tooMuch {
		return nil
	}
	return &ledger.Stored{Status: http.StatusOK, ContentType: "text/event-stream; charset=utf-8", Stream: true, Body: s.all.Bytes()}
}
