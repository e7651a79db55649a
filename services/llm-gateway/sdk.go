package llmgateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Headers of the answers of the wire protocols.
const (
	// HeaderRequest has the gateway's name of a request, under which it is booked.
	HeaderRequest = "Holdfast-Request"
	// HeaderMaxTokens tells what the tokens of an answer were lowered to, so that it
	// fits a budget; absent: they were not.
	HeaderMaxTokens = "Holdfast-Max-Tokens"
	// HeaderReplayed is "true" on an answer that was given before.
	HeaderReplayed = "Idempotent-Replayed"
	// headerShouldRetry tells SDKs of both providers whether to send again.
	headerShouldRetry = "X-Should-Retry"
	// headerIdempotencyKey is the client's.
	headerIdempotencyKey = "Idempotency-Key"
)

// newRoutes are the paths that SDKs of OpenAI and Anthropic call, below the base URL
// that they are given.
func newRoutes(g *gateway) []service.Route {
	generate := llmv1.LLMGatewayService_StreamGenerate_FullMethodName
	return []service.Route{
		g.route("POST /v1/chat/completions", generate, wire.OpenAI, g.generate(wire.OpenAI)),
		g.route("POST /v1/messages", generate, wire.Anthropic, g.generate(wire.Anthropic)),
		g.route("POST /v1/messages/count_tokens", llmv1.LLMGatewayService_CountTokens_FullMethodName, wire.Anthropic, g.countTokens),
		g.route("GET /v1/models", llmv1.LLMGatewayService_ListModels_FullMethodName, 0, g.listModels),
		g.route("GET /v1/models/{model...}", llmv1.LLMGatewayService_ListModels_FullMethodName, 0, g.getModel),
		g.route("POST /v1/responses", generate, wire.OpenAI, unsupported("the Responses API is not supported: use /v1/chat/completions")),
		g.route("POST /v1/completions", generate, wire.OpenAI, unsupported("the legacy Completions API is not supported: use /v1/chat/completions")),
		g.route("POST /v1/embeddings", generate, wire.OpenAI, unsupported("embeddings are not supported")),
		g.route("POST /v1/messages/batches", generate, wire.Anthropic, unsupported("batches are not supported: use /v1/messages")),
	}
}

// handler answers a request; see [service.Route].
type handler func(w http.ResponseWriter, r *http.Request, body []byte) error

// route is a route of a protocol; 0 is that which the request's headers tell.
func (g *gateway) route(pattern, method string, p wire.Protocol, handle handler) service.Route {
	return service.Route{
		Pattern: pattern, Method: method, MaxBody: g.cfg.MaxBody, Credential: credential,
		Handle: func(w http.ResponseWriter, r *http.Request, body []byte) error {
			if err := handle(w, r, body); err != nil {
				return typed(err)
			}
			return nil
		},
		Refuse: func(w http.ResponseWriter, r *http.Request, err error) { refuse(w, r, spoken(p, r), err) },
	}
}

// credential is the API key where Anthropic's SDK has it. It is one of ours: those of
// providers stay with the gateway.
func credential(r *http.Request) string { return r.Header.Get("X-Api-Key") }

// spoken is the protocol of a request for a path that both have.
func spoken(p wire.Protocol, r *http.Request) wire.Protocol {
	switch {
	case p != 0:
		return p
	case r.Header.Get("Anthropic-Version") != "":
		return wire.Anthropic
	default:
		return wire.OpenAI
	}
}

// refuse says an error as the protocol has it. Retries are the gateway's to make, so
// SDKs are told what they would not know from the status.
func refuse(w http.ResponseWriter, _ *http.Request, p wire.Protocol, err error) {
	h := w.Header()
	problem := problemOf(p, err)
	problem.RequestID = h.Get("X-Request-Id")
	h.Set("Content-Type", "application/json")
	h.Set("Request-Id", problem.RequestID)
	h.Set(headerShouldRetry, strconv.FormatBool(!permanent(err)))
	e := apierror.From(err)
	if after := e.RetryAfter(); after > 0 && h.Get("Retry-After") == "" {
		h.Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	}
	if after := e.RetryAfter(); after > 0 {
		h.Set("Retry-After-Ms", strconv.FormatInt(after.Milliseconds(), 10))
	}
	if path := e.Metadata("path"); path != "" {
		h.Set(dispatch.PathHeader, path)
	}
	w.WriteHeader(problem.Status)
	_, _ = w.Write(p.ErrorBody(problem))
}

func unsupported(message string) handler {
	return func(http.ResponseWriter, *http.Request, []byte) error {
		return apierror.New(apierror.ReasonUnsupported, message)
	}
}

// generate serves the one path of a protocol that costs money.
func (g *gateway) generate(p wire.Protocol) handler {
	return func(w http.ResponseWriter, r *http.Request, body []byte) error {
		request, err := wire.Scan(p, body)
		if err != nil {
			return err
		}
		ctx := r.Context()
		a, err := g.ask(ctx, auth.Tenant(ctx), request, r.Header)
		if err != nil {
			return err
		}
		if err := a.idempotent(r.Header.Get(headerIdempotencyKey), []byte(p.String()), body); err != nil {
			return err
		}
		w.Header().Set(HeaderRequest, a.id.String())
		w.Header().Set("Request-Id", w.Header().Get("X-Request-Id"))
		x, err := g.send(ctx, a)
		if replay, ok := before(err); ok {
			return repeat(w, replay)
		}
		if err != nil {
			return err
		}
		x.headers(w.Header())
		if x.Stream != nil {
			return x.relay(ctx, w)
		}
		x.close(ctx, x.Outcome, &ledger.Stored{Status: x.Status, ContentType: w.Header().Get("Content-Type"), Body: x.Body})
		w.WriteHeader(x.Status)
		_, err = w.Write(x.Body)
		return err
	}
}

// headers tells what the answer took to get.
func (x *exchange) headers(h http.Header) {
	h.Set("Content-Type", "application/json")
	if x.Stream != nil {
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
	}
	h.Set(dispatch.PathHeader, dispatch.FormatPath(x.Path))
	if id := x.Header.Get("Request-Id"); id != "" {
		h.Set("Holdfast-Provider-Request-Id", id)
	}
	if x.lowered > 0 {
		h.Set(HeaderMaxTokens, strconv.FormatInt(x.lowered, 10))
	}
}

// repeat gives an answer again.
func repeat(w http.ResponseWriter, replay *ledger.Replay) error {
	h := w.Header()
	h.Set(HeaderRequest, replay.Request.String())
	h.Set(HeaderReplayed, "true")
	h.Set("Content-Type", replay.ContentType)
	w.WriteHeader(replay.Status)
	_, err := w.Write(replay.Body)
	return err
}

// listModels lists the models of the caller as the protocol of the request has it.
func (g *gateway) listModels(w http.ResponseWriter, r *http.Request, _ []byte) error {
	table := g.routes.Current()
	p := spoken(0, r)
	list := modelList{Object: "list", Data: []modelEntry{}}
	for _, m := range table.Models(auth.Tenant(r.Context())) {
		list.Data = append(list.Data, entryOf(p, m))
	}
	if p == wire.Anthropic {
		list.Object = ""
		list.pages()
	}
	return writeJSON(w, list)
}

func (g *gateway) getModel(w http.ResponseWriter, r *http.Request, _ []byte) error {
	name := r.PathValue("model")
	route, ok := g.routes.Current().Route(auth.Tenant(r.Context()), name)
	if !ok {
		return noModel(name)
	}
	return writeJSON(w, entryOf(spoken(0, r), routes.Model{Name: name, Route: route}))
}

// modelList is a list of models in both protocols: all there are, on one page.
type modelList struct {
	Object  string       `json:"object,omitempty"`
	Data    []modelEntry `json:"data"`
	HasMore *bool        `json:"has_more,omitempty"`
	FirstID *string      `json:"first_id,omitempty"`
	LastID  *string      `json:"last_id,omitempty"`
}

// modelEntry is a model in both protocols.
type modelEntry struct {
	ID          string `json:"id"`
	Object      string `json:"object,omitempty"`
	Created     *int64 `json:"created,omitempty"`
	OwnedBy     string `json:"owned_by,omitempty"`
	Type        string `json:"type,omitempty"`
	DisplayName string `json:"display_name,omitempty"`
	CreatedAt   string `json:"created_at,omitempty"`
}

// unknownAge is when a model was made of which the gateway does not know: the
// protocols demand a time, and clients read more into it than into this one.
var unknownAge int64

func entryOf(p wire.Protocol, m routes.Model) modelEntry {
	if p == wire.Anthropic {
		return modelEntry{ID: m.Name, Type: "model", DisplayName: m.Name, CreatedAt: time.Unix(unknownAge, 0).UTC().Format(time.RFC3339)}
	}
	return modelEntry{ID: m.Name, Object: "model", Created: &unknownAge, OwnedBy: m.Route.Chain[0].Provider.Name}
}

func (l *modelList) pages() {
	var more bool
	l.HasMore = &more
	if n := len(l.Data); n > 0 {
		l.FirstID, l.LastID = &l.Data[0].ID, &l.Data[n-1].ID
	}
}

func writeJSON(w http.ResponseWriter, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(data)
	return err
}
