package llm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
)

// serveNothing is for paths that the provider does not have.
func (h *Handler) serveNothing(c *conversation) {
	c.fail(&Problem{Status: http.StatusNotFound, Message: "no such path: " + c.r.Method + " " + c.r.URL.Path})
}

// serveModels lists what is served, or describes one of it.
func (h *Handler) serveModels(c *conversation) {
	if !c.question(c.r.Context(), subject{operation: OperationModels}) {
		return
	}
	name := c.r.PathValue("model")
	if name == "" {
		c.writeJSON(http.StatusOK, c.dialect.models(modelsOf(c.provider)))
		return
	}
	if m, ok := modelOf(c.provider, name); ok {
		c.writeJSON(http.StatusOK, c.dialect.model(m))
		return
	}
	c.fail(noSuchModel(name))
}

// serveCount counts the tokens of a prompt. It costs nothing.
func (h *Handler) serveCount(c *conversation) {
	body, problem := c.body()
	if problem != nil {
		c.fail(problem)
		return
	}
	_, asked, problem := anthropic{}.readPrompt(body)
	if problem != nil {
		c.fail(problem)
		return
	}
	if _, ok := modelOf(c.provider, asked.model); !ok {
		c.fail(noSuchModel(asked.model))
		return
	}
	if !c.question(c.r.Context(), subject{operation: OperationCount, model: asked.model, ask: asked.ask, identity: asked.fingerprint()}) {
		return
	}
	c.writeJSON(http.StatusOK, struct {
		InputTokens int64 `json:"input_tokens"`
	}{asked.promptTokens()})
}

// question meets the faults of a request that costs nothing, and answers
// whether it is to be answered.
func (c *conversation) question(ctx context.Context, s subject) bool {
	s.provider, s.key = c.provider, c.key
	s.sent = c.sends.count(c.provider, s.identity)
	f, problem := c.faultOf(s)
	if problem != nil {
		c.fail(problem)
		return false
	}
	return c.before(ctx, f, false)
}

func noSuchModel(name string) *Problem {
	return &Problem{Status: http.StatusNotFound, Code: "model_not_found", Param: "model", Message: "the model " + name + " does not exist"}
}

// serveAnswer answers a prompt.
func (h *Handler) serveAnswer(c *conversation) {
	body, problem := c.body()
	if problem != nil {
		c.fail(problem)
		return
	}
	asked, problem := c.dialect.read(body)
	if problem != nil {
		c.fail(problem)
		return
	}
	model, ok := modelOf(c.provider, asked.model)
	if !ok {
		c.fail(noSuchModel(asked.model))
		return
	}
	if tokens := asked.promptTokens(); tokens > contextWindow {
		c.fail(&Problem{
			Status: http.StatusBadRequest, Code: "context_length_exceeded", Param: "messages",
			Message: "prompt is too long: " + strconv.FormatInt(tokens, 10) + " tokens > " + strconv.Itoa(contextWindow) + " maximum",
		})
		return
	}
	identity := asked.fingerprint()
	fault, problem := c.faultOf(subject{
		operation: OperationAnswer, provider: c.provider, model: asked.model, key: c.key, ask: asked.ask,
		identity: identity, sent: c.sends.count(c.provider, identity),
	})
	if problem != nil {
		c.fail(problem)
		return
	}
	l := &live{row: Row{
		Request: c.r.Header.Get(RequestIDHeader), Provider: c.provider, Model: asked.model, Key: c.key,
		Stream: asked.stream, State: StateRunning, CreateTime: h.now().UTC(),
	}}
	c.leave = h.running.enter(l)
	defer c.leave()
	if !c.before(c.r.Context(), fault, asked.stream) || !c.admit(asked) {
		return
	}
	g := c.generation(asked, model, fault, identity, l)
	if asked.stream && fault.When != After {
		g.stream()
	} else {
		g.whole()
	}
}

// admit counts the request against the limits of its key, and answers whether
// it is within them.
func (c *conversation) admit(asked *request) bool {
	limit := c.plan.limitOf(c.provider, c.key)
	left, within := c.meter.take(c.provider, c.key, asked.promptTokens(), limit, c.now())
	c.dialect.rateHeaders(c.w.Header(), left)
	if !within {
		c.fail(tooMany(c.provider, left.resetIn))
	}
	return within
}

// before meets a fault that strikes before anything was produced, and answers
// whether the request goes on.
func (c *conversation) before(ctx context.Context, f Fault, streamed bool) bool {
	if f.When == After || f.Kind == FaultError && streamed {
		return true
	}
	switch f.Kind {
	case FaultStatus, FaultError, FaultDelay, FaultDrop, FaultTimeout:
		if !wait(ctx, f.wait()) {
			hangUp(c.w, EndFIN) // an empty answer would be one
		}
	default:
		return true
	}
	switch f.Kind {
	case FaultDelay:
		return true
	case FaultDrop, FaultTimeout:
		c.leave()
		hangUp(c.w, f.End)
	default:
		c.failScripted(f)
	}
	return false
}

// failScripted answers the error of a fault.
func (c *conversation) failScripted(f Fault) {
	p := f.problem()
	if f.Body == "" {
		c.fail(p)
		return
	}
	c.leave()
	for name, values := range p.Header {
		c.w.Header()[name] = values
	}
	page := ""
	if f.Body == BodyHTML {
		c.w.Header().Set("Content-Type", "text/html")
		page = "<html><body><h1>" + http.StatusText(f.Status) + "</h1></body></html>"
	}
	c.w.WriteHeader(f.Status)
	_, _ = c.w.Write([]byte(page))
}

// generation begins to produce an answer.
func (c *conversation) generation(asked *request, m Model, f Fault, identity [32]byte, l *live) *generation {
	x := &exchange{id: c.answerID(), created: c.now(), request: asked, answer: compose(asked, m), hideUsage: f.Kind == FaultNoUsage}
	switch c.provider {
	case Anthropic:
		x.usage = c.cache.marked(c.provider, c.key, asked, c.now())
	case OpenAI:
		x.usage = c.cache.automatic(c.provider, c.key, asked, c.now())
	default: // no cache that it would tell of
		x.usage = Usage{Input: asked.promptTokens()}
	}
	x.usage.Output = x.answer.tokens()
	if c.provider != Compatible { // which says nothing of it: it is output like any other
		x.usage.Reasoning = x.answer.reasoning
	}
	g := &generation{conversation: c, x: x, price: m.Price, fault: f, live: l}
	g.pace = pace{latency: c.plan.latencyOf(c.provider, asked.model), fault: f}
	if g.pace.latency.Jitter > 0 {
		seed := binary.BigEndian.Uint64(identity[:8])
		g.pace.jitter = mathrand.New(mathrand.NewPCG(seed, c.plan.seed()))
	}
	l.mu.Lock()
	l.row.ID = x.id
	l.mu.Unlock()
	g.say(0)
	return g
}

func (c *conversation) answerID() string {
	if c.provider == Anthropic {
		return "msg_" + rand.Text()
	}
	return "chatcmpl-" + rand.Text()
}

// marshal is the body of an answer in one piece.
func (g *generation) marshal() []byte {
	body, err := json.Marshal(g.dialect.answer(g.x))
	if err != nil {
		panic(err) // what the dialects make always marshals
	}
	return body
}
