package llmgateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
)

// books keep one request's account: what each attempt may cost is reserved before
// it leaves, and what it did cost is written when it has ended.
type books struct {
	ledger *ledger.Ledger
	cfg    Config
	ask    *ask
	log    *slog.Logger

	held    *ledger.Held      // nil: nothing was reserved, or nothing is
	attempt dispatch.Attempt  // the one that left last
	price   price.Price       // its
	ended   *dispatch.Outcome // how it ended; nil: it is under way
	lowered int64             // what the tokens of the answer were lowered to, so as to fit the budget
	cost    int64             // in nano-dollars, when settled

	renewal *time.Timer
	mu      sync.Mutex // held while the ledger is told of the attempt
	done    bool
}

// replayed is why a request is not sent: it was answered before.
type replayed struct{ *ledger.Replay }

func (replayed) Error() string { return "the idempotency key has an answer" }

// leastAnswer is the fewest tokens that an answer is lowered to: fewer say nothing.
const leastAnswer = 16

// lowerings is how often an answer is lowered before the request is refused: between
// two of them others draw on the same budget.
const lowerings = 3

// Dispatching reserves the worst that the attempt can cost; see [dispatch.Books]. If
// that is more than a budget has left, the answer is bounded so that it fits.
func (b *books) Dispatching(ctx context.Context, a *dispatch.Attempt) error {
	rates, ok := b.ask.prices.Lookup(a.Provider, a.Model, b.ask.began)
	if !ok { // a table is not loaded without a price for each of its targets
		return fmt.Errorf("there is no price for %s of %s", a.Model, a.Provider)
	}
	for tries := 1; ; tries++ {
		err := b.reserve(ctx, ledger.Attempt{
			Provider: a.Provider, Model: a.Model, Key: a.Key,
			Worst: rates.Worst(a.InputTokens, b.output(a.MaxTokens)), PriceVersion: rates.Version,
		})
		if err == nil {
			b.price, b.attempt, b.ended = rates, *a, nil
			return nil
		}
		over, short := errors.AsType[*ledger.OverBudget](err)
		if !short || tries == lowerings {
			return err
		}
		fits := fitting(rates, a.InputTokens, over.Left) / max(b.ask.wire.Choices, 1)
		if fits < leastAnswer || fits >= a.MaxTokens {
			return err
		}
		a.MaxTokens, b.lowered = fits, fits
	}
}

// output is how many tokens an answer can have, of which each choice may have most.
func (b *books) output(most int64) int64 { return most * max(b.ask.wire.Choices, 1) }

// fitting is the most tokens of output that, with the input, cost no more than left.
func fitting(rates price.Price, input, left int64) int64 {
	low, high := int64(0), int64(1)<<40
	for low < high {
		mid := low + (high-low+1)/2
		if rates.Worst(input, mid) <= left {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// reserve is for the first attempt, or the next one.
func (b *books) reserve(ctx context.Context, attempt ledger.Attempt) error {
	if !b.cfg.Ledger {
		return nil
	}
	if b.held != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.held.Next(ctx, b.outcome(*b.ended), attempt)
	}
	held, replay, err := b.ledger.Reserve(ctx, ledger.Request{
		ID: b.ask.id, Tenant: b.ask.tenant, Route: b.ask.route.Name, Protocol: b.ask.wire.Protocol.String(), Stream: b.ask.wire.Stream,
		Key: b.ask.key, Fingerprint: b.ask.fingerprint, Budgets: b.ask.budgets(), Lease: b.cfg.Lease, First: attempt,
	})
	switch {
	case err != nil:
		return err
	case replay != nil:
		return replayed{replay}
	}
	b.held = held
	b.keepLease(ctx)
	return nil
}

// keepLease renews the lease until the books are closed. It takes a timer, and no
// goroutine but for the moment of renewing: most requests are answered before.
func (b *books) keepLease(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewal = time.AfterFunc(b.cfg.Lease/3, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.done {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, b.cfg.Lease/3)
		defer cancel()
		if err := b.held.Renew(bounded); err != nil {
			b.log.WarnContext(ctx, "the lease of a request was not renewed", "request", b.ask.id, "error", err)
		}
		b.renewal.Reset(b.cfg.Lease / 3)
	})
}

// letLease stops renewing, and returns when nothing renews any more.
func (b *books) letLease() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	if b.renewal != nil {
		b.renewal.Stop()
	}
}

// Ended keeps how an attempt ended until the next is reserved, or the request has
// failed; see [dispatch.Books].
func (b *books) Ended(_ dispatch.Attempt, o dispatch.Outcome) { b.ended = &o }

// outcome says how the attempt that left last ended, as the ledger writes it.
//
//	exact     what the provider said it used
//	unknown   it did not say, and can be asked: the reconciler will
//	estimated it did not say, and cannot be asked: of a stream that was cut, the
//	          input at its upper bound and the output that was seen
//	unknown   it cannot be asked, and nothing was seen that an estimate could rest on
func (b *books) outcome(o dispatch.Outcome) ledger.Outcome {
	out := ledger.Outcome{Exact: o.Exact, UpstreamID: o.UpstreamID, Finish: o.Finish, Error: o.Error}
	provider := b.ask.table.Providers[b.attempt.Provider]
	asks := provider != nil && provider.Lookup != ""
	used := o.Usage
	switch {
	case o.State == dispatch.Failed:
		out.State = ledger.Failed
		return out
	case !o.Exact && (asks || tokens(used) == 0):
		out.State = ledger.Unknown
		return out
	case used.Input+used.CacheRead+used.CacheWrite+used.CacheWrite1h == 0:
		used.Input = b.attempt.InputTokens
	}
	out.State, out.Usage, out.Cost = ledger.Settled, ledger.Usage(used), b.price.Cost(used)
	return out
}

// failed closes the books of a request that was not answered.
func (b *books) failed(ctx context.Context, settle *settler) {
	b.letLease()
	if b.held == nil {
		return // nothing was reserved
	}
	o := dispatch.Outcome{State: dispatch.Failed, Reason: dispatch.Refused}
	if b.ended != nil {
		o = *b.ended
	}
	if o.State == dispatch.Failed {
		settle.write(ctx, b, func(ctx context.Context) error { return b.held.Release(ctx, b.outcome(o)) })
		return
	}
	b.close(ctx, settle, o, nil)
}

// answered closes the books of one that was, with what to say to a repeat; nil:
// that it was cut.
func (b *books) answered(ctx context.Context, settle *settler, o dispatch.Outcome, answer *ledger.Stored) {
	b.letLease()
	if b.ask.key == "" {
		answer = nil
	}
	b.close(ctx, settle, o, answer)
}

func (b *books) close(ctx context.Context, settle *settler, o dispatch.Outcome, answer *ledger.Stored) {
	out := b.outcome(o)
	b.cost = out.Cost
	if b.held == nil {
		return
	}
	settle.write(ctx, b, func(ctx context.Context) error { return b.held.Settle(ctx, out, answer) })
}
