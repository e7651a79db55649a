package llm

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// generation is an answer that is being produced, and paid for.
type generation struct {
	*conversation
	x     *exchange
	price Price
	fault Fault
	pace  pace
	live  *live
	row   Row // on the invoice, once it has a sequence

	chunks   int   // of content, so far
	produced int64 // tokens, so far
	struck   bool  // by the fault
}

// say makes known what has been produced.
func (g *generation) say(produced int64) {
	g.produced = produced
	u := g.x.partial(produced)
	g.live.set(u, g.price.Cost(u))
}

// bill puts the request on the invoice, as far as it was produced.
func (g *generation) bill(state State) bool {
	known := g.live.get()
	known.Sequence, known.CreateTime = g.row.Sequence, g.row.CreateTime
	known.State, known.Usage = state, g.x.partial(g.produced)
	known.Billed = g.price.Cost(known.Usage)
	g.row = known
	if err := g.invoice.record(&g.row); err != nil {
		g.log.Error("bill a request", "error", err)
		return false
	}
	if state != StateRunning {
		g.leave()
	}
	return true
}

// unbill takes the request off the invoice: it failed before its first token.
func (g *generation) unbill() {
	if g.row.Sequence == 0 {
		return
	}
	if err := g.invoice.strike(&g.row); err != nil {
		g.log.Error("strike a row", "error", err)
	}
	g.leave()
}

// await waits for the next chunk, and answers whether it is still wanted.
func (g *generation) await() bool {
	return wait(g.r.Context(), g.pace.next())
}

// whole answers in one piece, or, with a fault that strikes after everything was
// produced, not at all.
func (g *generation) whole() {
	if !g.produce() {
		g.bill(endedBy(g.r.Context()))
		hangUp(g.w, EndFIN)
		return
	}
	body := g.marshal()
	state := StateFinished
	if g.fault.Kind == FaultCut && (g.fault.Chunks > 0 || g.fault.Bytes < int64(len(body))) {
		state = StateCut
	}
	if !g.bill(state) {
		g.failUnbilled()
		return
	}
	if g.fault.When == After {
		if !wait(g.r.Context(), g.fault.wait()) || g.fault.Kind != FaultDelay {
			hangUp(g.w, g.fault.End)
			return
		}
	}
	out := newWire(g.w, g.r, g.fault)
	if g.x.request.stream {
		g.eventHeaders()
		g.dialect.frames(g.x, func(f frame) bool { return out.send(f.data) == nil })
		return
	}
	g.w.Header().Set("Content-Type", "application/json")
	if g.fault.End != EndClean {
		g.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	if g.fault.Kind == FaultCut && g.fault.Chunks > 0 {
		hangUp(g.w, g.fault.End) // it has no chunks
		return
	}
	if err := out.send(body); errors.Is(err, errCut) {
		hangUp(g.w, g.fault.End)
	}
}

// produce takes as long as the chunks of the answer do, and answers whether it is
// still wanted then.
func (g *generation) produce() bool {
	hidden := g.hidden()
	chunks := g.x.usage.Output - hidden
	for chunk := range chunks {
		stalled := g.fault.Kind == FaultStall && chunk == min(int64(g.fault.Chunks), chunks-1)
		if stalled && !wait(g.r.Context(), g.fault.wait()) || !g.await() {
			return false
		}
		g.say(hidden + chunk + 1)
	}
	g.say(g.x.usage.Output)
	return true
}

// hidden is what was thought and is not shown. It is produced with the first
// chunk.
func (g *generation) hidden() int64 {
	return g.x.answer.reasoning - int64(len(g.x.answer.thoughts))
}

func (g *generation) failUnbilled() {
	g.fail(&Problem{Status: http.StatusInternalServerError, Message: "the invoice could not be written; the log says why"})
}

func (g *generation) eventHeaders() {
	g.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	g.w.Header().Set("Cache-Control", "no-cache")
}

// stream answers event by event. It is on the invoice from its beginning, with
// its prompt, and with all of it before the end is sent.
func (g *generation) stream() {
	if !g.bill(StateRunning) {
		g.failUnbilled()
		return
	}
	g.eventHeaders()
	out := newWire(g.w, g.r, g.fault)
	broken := false // the stream does not end as it should
	g.dialect.frames(g.x, func(f frame) bool {
		broken = !g.step(out, f)
		return !broken
	})
	if broken {
		hangUp(g.w, g.fault.End)
	}
}

// step sends one event, and answers whether the stream goes on.
func (g *generation) step(out *wire, f frame) bool {
	// A fault strikes before the chunk it is aimed at, or before the end where
	// there are fewer.
	if !g.struck && (f.phase == content && g.chunks == g.fault.Chunks || f.phase == closing) {
		g.struck = true
		if !g.strike(out) {
			return false
		}
	}
	switch f.phase {
	case content:
		if !g.await() {
			g.bill(endedBy(g.r.Context()))
			return false
		}
		if g.chunks == 0 {
			f.tokens += g.hidden()
		}
		g.chunks++
	case closing:
		if g.row.State == StateRunning {
			g.say(g.x.usage.Output)
			g.bill(StateFinished)
		}
	}
	g.say(g.produced + f.tokens)
	err := out.send(f.data)
	switch {
	case errors.Is(err, errCut):
		g.bill(StateCut)
	case err != nil && g.row.State == StateRunning:
		g.bill(endedBy(g.r.Context()))
	}
	return err == nil
}

// strike lets a fault happen that is aimed at this place of a stream, and
// answers whether the stream goes on.
func (g *generation) strike(out *wire) bool {
	switch g.fault.Kind {
	case FaultStall:
		if !g.stall(out) {
			g.bill(endedBy(g.r.Context()))
			return false
		}
	case FaultError:
		if !wait(g.r.Context(), g.fault.wait()) {
			g.bill(endedBy(g.r.Context()))
			return false
		}
		if g.chunks == 0 {
			g.unbill()
		} else {
			g.bill(StateCut)
		}
		_ = out.send(g.dialect.errorEvent(g.fault.problem())) // whoever is left to read it
		g.fault.End = EndClean
		return false
	case FaultCut:
		if g.fault.Chunks > 0 { // or it is cut by bytes
			g.bill(StateCut)
			return false
		}
	}
	return true
}

// stall says nothing for a while, or nothing but pings.
func (g *generation) stall(out *wire) bool {
	until := g.now().Add(g.fault.wait())
	for g.fault.Ping > 0 {
		left := until.Sub(g.now())
		if left <= time.Duration(g.fault.Ping) {
			return wait(g.r.Context(), left)
		}
		if !wait(g.r.Context(), time.Duration(g.fault.Ping)) || out.send(g.dialect.pingEvent()) != nil {
			return false
		}
	}
	return wait(g.r.Context(), g.fault.wait())
}
