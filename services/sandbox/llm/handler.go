package llm

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxBody is more than any request needs; what Anthropic takes.
	maxBody = 32 << 20
	// contextWindow is how long a prompt can be, in tokens.
	contextWindow = 1_000_000
)

// modelsCreated is when the models were made: a date in their lists.
var modelsCreated = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// RequestIDHeader names a request so that it can be looked up.
const RequestIDHeader = "Holdfast-Request-Id"

// FaultHeader asks for a fault.
const FaultHeader = "Sandbox-Fault"

// Handler is the providers over HTTP. Its zero value is of no use; see
// [NewHandler].
type Handler struct {
	mux     *http.ServeMux
	invoice *Invoice
	log     *slog.Logger
	now     func() time.Time

	plan    plan
	sends   sends
	meter   meter
	cache   *promptCache
	running running
}

// NewHandler serves the providers, with the script that the invoice keeps:
//
//	POST /llm/openai/v1/chat/completions       GET /llm/openai/v1/models
//	POST /llm/compatible/v1/chat/completions   GET /llm/compatible/v1/models
//	POST /llm/anthropic/v1/messages            GET /llm/anthropic/v1/models
//	POST /llm/anthropic/v1/messages/count_tokens
//
//	POST /llm/faults, GET, DELETE              the script
//	GET  /llm/invoice?since=…&until=…&request=…&after=…&limit=…
//	GET  /llm/requests/{id}                    what became of a request
//	GET  /llm/prices                           what models cost
//
// A request whose context ends with a cause other than [context.Canceled] was
// ended by the server, not by its client.
func NewHandler(invoice *Invoice, log *slog.Logger) (*Handler, error) {
	script, err := invoice.keptScript()
	if err != nil {
		return nil, err
	}
	if script, err = script.normal(); err != nil {
		return nil, fmt.Errorf("the script that was kept: %w", err)
	}
	h := &Handler{mux: http.NewServeMux(), invoice: invoice, log: log, now: time.Now, cache: newPromptCache()}
	h.plan.set(script)
	for p, d := range map[Provider]dialect{OpenAI: openAI{}, Compatible: openAI{compatible: true}, Anthropic: anthropic{}} {
		base := p.BasePath() + "/v1"
		if p == Anthropic {
			h.mux.Handle("POST "+base+"/messages", h.operate(p, d, h.serveAnswer))
			h.mux.Handle("POST "+base+"/messages/count_tokens", h.operate(p, d, h.serveCount))
		} else {
			h.mux.Handle("POST "+base+"/chat/completions", h.operate(p, d, h.serveAnswer))
		}
		h.mux.Handle("GET "+base+"/models", h.operate(p, d, h.serveModels))
		h.mux.Handle("GET "+base+"/models/{model}", h.operate(p, d, h.serveModels))
		h.mux.Handle(p.BasePath()+"/", h.operate(p, d, h.serveNothing))
	}
	h.control()
	return h, nil
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Invoice is what was billed.
func (h *Handler) Invoice() *Invoice { return h.invoice }

// SetScript replaces the script, and keeps it; it fails if the script makes no
// sense.
func (h *Handler) SetScript(s Script) error {
	s, err := s.normal()
	if err != nil {
		return refusal{err}
	}
	if err := h.invoice.keepScript(s); err != nil {
		return err
	}
	h.plan.set(s)
	return nil
}

// Script is the script in force, and how often its rules matched and struck.
func (h *Handler) Script() Script { return h.plan.get() }

// refusal is an error of the one who asks.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// conversation is one request to a provider, on its way through the handler.
type conversation struct {
	*Handler
	provider  Provider
	dialect   dialect
	w         http.ResponseWriter
	r         *http.Request
	requestID string // the provider's own name for it
	key       string
	// leave ends that the request is known as running. It is called before its
	// client can learn how it ended: who has the answer and looks it up finds that.
	leave func()
}

// operate serves one operation of a provider: it names the request, and lets in
// who has a key.
func (h *Handler) operate(p Provider, d dialect, serve func(*conversation)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &conversation{Handler: h, provider: p, dialect: d, w: w, r: r, requestID: "req_" + rand.Text(), leave: func() {}}
		if name := d.requestIDHeader(); name != "" {
			w.Header().Set(name, c.requestID)
		}
		key, problem := d.authenticate(r.Header)
		if problem == nil {
			problem = refuse(p, key)
		}
		if problem != nil {
			c.fail(problem)
			return
		}
		c.key = key
		serve(c)
	})
}

// fail answers a problem in the provider's shape.
func (c *conversation) fail(p *Problem) {
	c.leave()
	for name, values := range p.Header {
		c.w.Header()[name] = values
	}
	c.writeJSON(p.Status, c.dialect.problem(p, c.requestID))
}

func (c *conversation) writeJSON(status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // what the dialects make always marshals
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
}

// body reads the body of the request.
func (c *conversation) body() ([]byte, *Problem) {
	limited := http.MaxBytesReader(c.w, c.r.Body, maxBody)
	var body []byte
	var err error
	if n := c.r.ContentLength; n >= 0 && n <= maxBody {
		body = make([]byte, n)
		_, err = io.ReadFull(limited, body)
	} else {
		body, err = io.ReadAll(limited)
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge || c.r.ContentLength > maxBody {
		return nil, &Problem{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is over %d bytes", maxBody)}
	}
	if err != nil {
		return nil, invalid("", "the body did not arrive")
	}
	return body, nil
}

// faultOf is the fault that this request meets; the zero Fault if none. Its
// error is the client's: a fault that makes no sense.
func (c *conversation) faultOf(s subject) (Fault, *Problem) {
	if header := c.r.Header.Get(FaultHeader); header != "" {
		f, err := ParseFault(header)
		if err != nil {
			return f, invalid("", FaultHeader+": "+err.Error())
		}
		return f, nil
	}
	for _, text := range readDirectives(s.ask).faults {
		f, a, err := parseFault(text, true)
		if err != nil {
			return f, invalid("", "[[fault]]: "+err.Error())
		}
		if a.hits(s.provider, s.model, s.key, s.sent) {
			return f, nil
		}
	}
	return c.plan.strike(s), nil
}
