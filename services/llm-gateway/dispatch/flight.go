package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// largestError bounds what is read of an error's body.
const largestError = 64 << 10

// flight is one attempt under way, with all that it holds: leave of the breakers, a
// place at the key, a connection. It lands once.
type flight struct {
	w        *walk
	link     *routes.Link
	provider *provider
	target   *target
	key      *key
	config   routes.Key
	leave    permits

	release    func(actual int64)
	retryAfter time.Duration // if the gate did not let it pass
	attempt    Attempt
	began      time.Time

	cancel    context.CancelCauseFunc
	alarm     *alarm
	connected atomic.Bool // a connection was had
	sent      atomic.Bool // something was written to it

	outcome Outcome
	landed  sync.Once
}

// queue waits for the gate.
func (f *flight) queue(ctx context.Context) error {
	release, retryAfter, err := f.w.d.options.Gate.Acquire(ctx, f.link.Provider, f.config, f.attempt.InputTokens+f.attempt.MaxTokens)
	if err != nil {
		f.retryAfter = retryAfter
		return err
	}
	f.release = release
	f.key.inflight.Add(1)
	return nil
}

// land gives back what the flight holds, and counts how it ended.
func (f *flight) land(reason Reason, against Level, o Outcome) {
	f.landed.Do(func() {
		f.outcome = o
		f.leave.settle(reason, against)
		f.key.inflight.Add(-1)
		u := o.Usage
		f.release(u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h + u.Output)
		if f.alarm != nil {
			f.alarm.off()
		}
		if f.cancel != nil {
			f.cancel(causeClosed)
		}
		if reason != Refused {
			f.target.meter.ended(reason, u)
		}
	})
}

// fly makes the attempt: an answer, a fault, or an error of the books, with which
// nothing was sent.
func (f *flight) fly(ctx context.Context, said wire.Request) (*Answer, *fault, error) {
	f.began = time.Now()
	if err := f.w.request.Books.Dispatching(ctx, &f.attempt); err != nil {
		f.land(Refused, Nobody, Outcome{State: Failed})
		return nil, nil, err
	}
	f.w.attempts++
	ctx, f.cancel = context.WithCancelCause(ctx)
	f.alarm = newAlarm(f.cancel)
	body := newContent(said, wire.Changes{
		Model: f.link.Model, MaxTokens: f.attempt.MaxTokens, MaxTokensField: f.link.Provider.MaxTokensField,
		AskUsage: said.Stream && said.Protocol == wire.OpenAI,
	})
	request := f.w.compose(f.traced(ctx, said.Stream), f.link, f.config, &f.attempt, said, body)
	if request == nil {
		return nil, f.fail(&fault{reason: ConnectFailed, err: errAddress}, Outcome{State: Failed}), nil
	}
	answer, broken := f.exchange(ctx, request, said)
	if broken == nil {
		body.done()
	}
	return answer, broken, nil
}

// traced is a context by which the transport tells how far a request has come.
func (f *flight) traced(ctx context.Context, stream bool) context.Context {
	timeouts, cause := f.w.request.Route.Timeouts, causeAnswer
	if stream {
		cause = causeFirstToken
	}
	f.alarm.set(timeouts.Connect, causeConnect)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			f.connected.Store(true)
			f.alarm.set(timeouts.FirstToken, cause)
		},
		WroteHeaders: func() { f.sent.Store(true) },
	})
}

// exchange sends the request and reads what comes, up to the first content of a
// stream.
func (f *flight) exchange(ctx context.Context, request *http.Request, said wire.Request) (*Answer, *fault) {
	response, err := f.provider.transport.RoundTrip(request)
	if err != nil {
		return nil, f.unanswered(ctx, err)
	}
	f.w.d.options.Gate.Observe(f.link.Provider, f.config, response.Header)
	if response.StatusCode/100 != 2 {
		return nil, f.denied(response)
	}
	answer := &Answer{
		Protocol: f.link.Provider.Protocol, Status: response.StatusCode, Attempt: f.attempt, Header: f.passed(response.Header),
	}
	if said.Stream {
		if broken := f.follow(ctx, answer, response, !said.IncludeUsage); broken != nil {
			return nil, broken
		}
		return answer, nil
	}
	if broken := f.read(ctx, answer, response); broken != nil {
		return nil, broken
	}
	return answer, nil
}

// passed are the headers of an answer that its caller gets.
func (f *flight) passed(h http.Header) http.Header {
	kept := make(http.Header, 2)
	if kind := h["Content-Type"]; len(kind) > 0 {
		kept["Content-Type"] = []string{f.hide(kind[0])}
	}
	for _, name := range []string{"Request-Id", "X-Request-Id"} {
		if id := h[name]; len(id) > 0 {
			kept["Request-Id"] = []string{f.hide(id[0])}
			break
		}
	}
	return kept
}

// fail notes what the books need of a fault.
func (f *flight) fail(broken *fault, o Outcome) *fault {
	if broken.err != nil {
		broken.err = f.clean(broken.err)
	}
	o.Error = broken.text()
	if broken.provider != nil && o.UpstreamID == "" {
		o.UpstreamID = broken.provider.RequestID
	}
	o.Reason = broken.reason
	if broken.provider != nil {
		o.Reason = ruleOf(f.link.Provider.Protocol, broken.provider).reason
	}
	f.outcome = o
	return broken
}

// state is what is known of the bill of a flight that no answer came back from.
func (f *flight) state() State {
	if f.sent.Load() {
		return Unknown
	}
	return Failed
}

// unanswered is a fault before the answer's status.
func (f *flight) unanswered(ctx context.Context, err error) *fault {
	reason := Cut
	switch {
	case !f.connected.Load():
		reason = ConnectFailed
	case strings.Contains(err.Error(), "response headers exceeded"): // net/http has no type for it
		reason = TooLarge
	}
	return f.fail(&fault{reason: endedBy(ctx, reason), err: err}, Outcome{State: f.state()})
}

// denied is a fault that the provider names.
func (f *flight) denied(response *http.Response) *fault {
	defer response.Body.Close()
	// What cannot be read is missing from the text; the status says enough.
	body, _ := io.ReadAll(io.LimitReader(response.Body, largestError))
	e := wire.ReadError(f.link.Provider.Protocol, response.StatusCode, response.Header, body)
	return f.fail(&fault{provider: f.redacted(e), hint: ReadHint(response.Header, time.Now())}, Outcome{State: Failed})
}

// read reads a whole answer.
func (f *flight) read(ctx context.Context, answer *Answer, response *http.Response) *fault {
	defer response.Body.Close()
	most := f.w.d.options.MaxBody
	body, err := readAll(response.Body, response.ContentLength, most)
	lost := Outcome{State: Unknown, UpstreamID: first(answer.Header["Request-Id"])}
	switch {
	case err != nil:
		return f.fail(&fault{reason: endedBy(ctx, Cut), err: err}, lost)
	case int64(len(body)) > most:
		return f.fail(&fault{reason: TooLarge, err: fmt.Errorf("the answer is larger than %d bytes", most)}, lost)
	}
	answer.Body = body
	if !f.w.request.Opaque {
		answer.Read, err = wire.ReadAnswer(answer.Protocol, body)
	}
	var said *wire.ProviderError
	switch {
	case errors.As(err, &said):
		return f.fail(&fault{provider: f.redacted(said)}, lost)
	case err != nil:
		return f.fail(&fault{reason: Garbled, err: err}, lost)
	}
	answer.Outcome = Outcome{
		State: Billed, Reason: OK, Usage: answer.Read.Usage, Exact: answer.Read.HasUsage || f.w.request.Opaque,
		UpstreamID: answer.Read.ID, Finish: answer.Read.Finish,
	}
	took := time.Since(f.began)
	f.arrived(response.StatusCode, took)
	f.w.d.metrics.answer.Record(ctx, took.Seconds(), f.target.meter.attributes)
	f.land(OK, Nobody, answer.Outcome)
	return nil
}

// arrived notes the station where the request was answered.
func (f *flight) arrived(status int, took time.Duration) {
	f.w.tries = append(f.w.tries, Try{
		Provider: f.link.Provider.Name, Model: f.link.Model, Key: f.key.name, Reason: OK, Status: status, Took: took,
	})
}

// readAll reads one byte more than the most, if there are so many.
func readAll(r io.Reader, length, most int64) ([]byte, error) {
	size := int64(4 << 10)
	if length >= 0 {
		size = min(length, most) + 1 // the last one finds the end
	}
	body := make([]byte, 0, size)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return body, err
		case int64(len(body)) > most:
			return body, nil
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

// isEvents says whether a body is a stream of events; one that does not say what
// it is may be.
func isEvents(h http.Header) bool {
	kind := h.Get("Content-Type")
	if kind == "" || kind == "text/event-stream" {
		return true
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && media == "text/event-stream"
}

// clean is an error of which nothing can be read that must not be: some providers
// quote the key that they do not accept.
func (f *flight) clean(err error) error {
	if text := err.Error(); f.hide(text) != text {
		return errors.New(f.hide(text))
	}
	return err
}

func (f *flight) redacted(e *wire.ProviderError) *wire.ProviderError {
	e.Type, e.Code, e.Message, e.RequestID = f.hide(e.Type), f.hide(e.Code), f.hide(e.Message), f.hide(e.RequestID)
	e.Raw = []byte(f.hide(string(e.Raw)))
	return e
}

func (f *flight) hide(text string) string {
	secret := f.config.Secret.Reveal()
	if secret == "" {
		return text
	}
	return strings.ReplaceAll(text, secret, f.config.Secret.String())
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
