package dispatch

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// repeatsHere is how often a target is asked again before it is the next one's
// turn; with nobody else in the chain, the next round begins with it.
const repeatsHere = 1

// walk is a request on its way along the chain, in rounds: whoever is not resting
// is asked once, and if that came to nothing that may pass, then after a pause
// once more, as long as the attempts and the time suffice.
type walk struct {
	d        *Dispatcher
	request  Request
	life     *lifetime
	deadline time.Time // zero: none
	tries    []Try
	attempts int

	gone  []bool // links that are not asked again
	tired []*key // keys that are not asked again
	busy  []*key // keys that are not asked again in this round

	last     *Failure      // how the last attempt ended, or why none was made
	pause    time.Duration // the shortest after which an attempt of this round may be repeated; -1: none may
	comeBack time.Duration // the shortest after which the request may succeed; -1: nobody knows
}

// Do sends the request along its route's chain, and returns the first answer. An
// error is a *[Failure]. The context is the caller's: when it ends, so does the
// connection upstream, and its deadline holds where it is sooner than the
// route's.
func (d *Dispatcher) Do(ctx context.Context, r Request) (*Answer, error) {
	w := &walk{d: d, request: r, gone: make([]bool, len(r.Route.Chain)), comeBack: -1, tries: make([]Try, 0, 2)}
	if total := r.Route.Timeouts.Total; total > 0 {
		w.deadline = time.Now().Add(total)
	}
	if own, ok := ctx.Deadline(); ok && (w.deadline.IsZero() || own.Before(w.deadline)) {
		w.deadline = own
	}
	if r.Books == nil {
		w.request.Books = nobody{}
	}
	if err := ctx.Err(); err != nil {
		reason := CallerLeft
		if errors.Is(err, context.DeadlineExceeded) {
			reason = TotalTimeout
		}
		return nil, &Failure{Reason: reason, Status: statusFor(reason, nil), Cause: err}
	}
	var lived context.Context
	lived, w.life = begin(ctx, w.deadline)
	answer, failure := w.run(lived)
	if failure != nil {
		w.life.end(causeClosed)
		failure.Path, failure.Attempts = w.tries, w.attempts
		return nil, failure
	}
	if answer.Stream == nil {
		w.life.end(causeClosed)
	}
	answer.Path, answer.Attempts = w.tries, w.attempts
	return answer, nil
}

// nobody keeps no books.
type nobody struct{}

// Dispatching lets everything pass.
func (nobody) Dispatching(context.Context, *Attempt) error { return nil }

// Ended forgets it.
func (nobody) Ended(Attempt, Outcome) {}

// run goes along the chain until there is an answer, or no sense in going on.
func (w *walk) run(ctx context.Context) (*Answer, *Failure) {
	for {
		w.pause, w.comeBack, w.busy = -1, -1, w.busy[:0]
		for i := range w.request.Route.Chain {
			if w.gone[i] || w.spent() {
				continue
			}
			if answer, failure := w.link(ctx, i); answer != nil || failure != nil {
				return answer, failure
			}
		}
		if w.pause < 0 || w.spent() || !w.fits(w.pause) {
			return nil, w.failure()
		}
		if !sleep(ctx, w.pause) {
			return nil, w.over(ctx)
		}
	}
}

// link asks a target, until it is another's turn. Neither an answer nor a failure
// means that it is.
func (w *walk) link(ctx context.Context, i int) (*Answer, *Failure) {
	link := &w.request.Route.Chain[i]
	said, ok := w.said(link.Provider.Protocol)
	if !ok {
		w.gone[i] = true
		w.skip(link, Untranslatable, statusFor(Untranslatable, nil))
		return nil, nil
	}
	p, err := w.d.provider(link.Provider) //nolint:contextcheck // what is made here outlives the request
	if err != nil {
		return nil, w.refused(err)
	}
	t, err := w.d.target(p, link.Model) //nolint:contextcheck // as above
	if err != nil {
		return nil, w.refused(err)
	}
	repeats, asked := 0, false
	var again *key // is to be asked again, if it does not rest
	for !w.spent() {
		f, failure := w.admit(ctx, p, t, link, said, again, asked)
		if f == nil {
			return nil, failure
		}
		asked = true
		answer, fault, err := f.fly(ctx, said)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, w.over(ctx) // the books were asked too late
		case err != nil:
			return nil, w.refused(err)
		}
		if fault == nil {
			if i > 0 {
				t.meter.fallbacks.Add(1)
			}
			return answer, nil
		}
		j := w.learn(f, fault)
		again = nil
		switch {
		case j.verdict == Never:
			return nil, w.last
		case j.verdict == NextKey:
			w.busy = append(w.busy, f.key)
			if !j.again {
				w.tired = append(w.tired, f.key)
			}
		case j.verdict == Here && j.again && repeats < repeatsHere && w.waits(i, j.pause):
			if w.spent() {
				return nil, nil
			}
			if !sleep(ctx, j.pause) {
				return nil, w.over(ctx)
			}
			repeats++
			again = f.key
		default:
			w.gone[i] = w.gone[i] || !j.again
			return nil, nil
		}
	}
	return nil, nil
}

// admit chooses a key and gets the leave of everybody who has a say. Nil without a
// failure: it is another target's turn; of one that was asked already, nothing is
// noted.
func (w *walk) admit(ctx context.Context, p *provider, t *target, link *routes.Link, said wire.Request, again *key, asked bool) (*flight, *Failure) {
	for {
		k, config, rests := p.choose(link.Keys, again, w.tired, w.busy, time.Now())
		if k == nil {
			w.comeBack = sooner(w.comeBack, rests)
			if rests > 0 && rests <= w.d.options.MaxBackoff {
				w.pause = sooner(w.pause, rests) // with nobody else in the chain it is waited for
			}
			if !asked {
				status := statusFor(KeysResting, nil)
				if rests >= 0 {
					status = statusFor(RateLimited, nil)
				}
				w.skip(link, KeysResting, status)
			}
			return nil, nil
		}
		leave, reason, err := permit(p, t)
		if err != nil {
			w.comeBack = sooner(w.comeBack, apierror.From(err).RetryAfter())
			w.skip(link, reason, statusFor(reason, nil))
			return nil, nil
		}
		f := &flight{w: w, link: link, provider: p, target: t, key: k, config: config, leave: leave, attempt: w.attemptOf(link, k.name, said)}
		if err := f.queue(ctx); err != nil {
			leave.settle(Refused, Nobody)
			if ctx.Err() != nil {
				return nil, w.over(ctx)
			}
			w.comeBack = sooner(w.comeBack, f.retryAfter)
			w.skip(link, Queued, statusFor(Queued, nil))
			w.busy, again, asked = append(w.busy, k), nil, true
			continue
		}
		return f, nil
	}
}

// learn finds out what a fault means, and lets everybody know whom it concerns.
func (w *walk) learn(f *flight, broken *fault) judgement {
	now := time.Now()
	j := w.d.options.judge(f.link.Provider.Protocol, broken, w.attempts)
	w.rest(f, j)
	try := Try{Provider: f.link.Provider.Name, Model: f.link.Model, Key: f.key.name, Reason: j.reason, Took: now.Sub(f.began)}
	w.last = &Failure{Reason: j.reason, Protocol: f.link.Provider.Protocol, Last: broken.provider, Cause: broken.err}
	if broken.provider != nil {
		try.Status = broken.provider.Status
	}
	w.last.Status = statusFor(j.reason, broken.provider)
	w.last.Permanent = j.reason == Invalid
	w.tries = append(w.tries, try)
	f.land(j.reason, j.against, f.outcome)
	w.request.Books.Ended(f.attempt, f.outcome)
	if j.again {
		w.pause = sooner(w.pause, j.pause)
		w.comeBack = sooner(w.comeBack, j.pause)
	}
	return j
}

// rest lets the key of a flight rest, if it is the key that the flight failed by.
func (w *walk) rest(f *flight, j judgement) {
	switch j.rest {
	case hinted:
		f.key.rest(time.Now().Add(j.pause), j.reason)
	case long:
		f.key.rest(time.Now().Add(w.d.options.LongRest), j.reason)
		w.d.options.Log.Warn("a provider does not accept a key, which is not used for now",
			"provider", f.link.Provider.Name, "key", f.key.name, "reason", string(j.reason), "for", w.d.options.LongRest)
	}
}

// skip notes a target that was passed over, and what the caller is told if nobody
// was asked.
func (w *walk) skip(link *routes.Link, reason Reason, status int) {
	w.tries = append(w.tries, Try{Provider: link.Provider.Name, Model: link.Model, Reason: reason})
	if w.last == nil {
		w.last = &Failure{Reason: reason, Status: status}
	}
}

// sooner is the shorter of two times, of which one below zero is never.
func sooner(a, b time.Duration) time.Duration {
	switch {
	case a < 0:
		return b
	case b < 0:
		return a
	default:
		return min(a, b)
	}
}

// failure is how the request ends when the chain came to nothing.
func (w *walk) failure() *Failure {
	w.last.RetryAfter = max(0, w.comeBack)
	w.last.Permanent = w.comeBack < 0
	return w.last
}

// over is how the request ends whose time is up, or whose caller left, while it
// waited.
func (w *walk) over(ctx context.Context) *Failure {
	reason := endedBy(ctx, CallerLeft)
	return &Failure{Reason: reason, Status: statusFor(reason, nil), RetryAfter: max(0, w.comeBack), Cause: context.Cause(ctx)}
}

// refused is how a request ends that may not be sent.
func (w *walk) refused(err error) *Failure {
	return &Failure{Reason: Refused, Status: statusFor(Refused, nil), Cause: err}
}

// spent says that the route allows no further attempt.
func (w *walk) spent() bool { return w.attempts >= max(1, w.request.Route.Attempts) }

// fits says whether an attempt after the pause could still begin.
func (w *walk) fits(pause time.Duration) bool {
	return w.deadline.IsZero() || time.Until(w.deadline) > pause
}

// waits says whether to wait for a target rather than to ask the next.
func (w *walk) waits(i int, pause time.Duration) bool {
	return w.fits(pause) && (pause <= w.d.options.MaxBackoff || !slices.Contains(w.gone[i+1:], false))
}

// said is the request in a protocol.
func (w *walk) said(p wire.Protocol) (wire.Request, bool) {
	if p == w.request.Wire.Protocol {
		return w.request.Wire, true
	}
	if w.request.Say == nil {
		return wire.Request{}, false
	}
	said, err := w.request.Say(p)
	return said, err == nil
}

// attemptOf is what the books are told of an attempt.
func (w *walk) attemptOf(link *routes.Link, key string, said wire.Request) Attempt {
	bound := said.MaxTokens
	if bound == 0 {
		bound = w.request.Route.MaxTokens
	}
	if most := w.request.Route.MaxTokensCap; most > 0 {
		bound = min(bound, most)
	}
	if w.request.Opaque {
		bound = 0
	}
	number := w.attempts + 1
	return Attempt{
		Number: number, ID: w.request.ID + "." + strconv.Itoa(number),
		Provider: link.Provider.Name, Model: link.Model, Key: key,
		InputTokens: wire.EstimateTokens(said.Body), MaxTokens: bound,
	}
}
