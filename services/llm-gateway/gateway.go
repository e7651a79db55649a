package llmgateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/limits"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// gateway is what every request passes, in whatever protocol it came:
//
//	route ─▶ tenant's limits ─▶ dispatch ─▶ answer ─▶ settle
//	                             │    ▲
//	                             ▼    │ each attempt
//	                       reserve in the ledger
type gateway struct {
	cfg        Config
	routes     *routes.Source
	prices     *price.Source
	ledger     *ledger.Ledger
	dispatcher *dispatch.Dispatcher
	tenants    *limits.Tenants
	settler    *settler
	log        *slog.Logger
	meter      *meter
	now        func() time.Time
}

// ask makes an ask of a request, or says why it cannot be one.
func (g *gateway) ask(ctx context.Context, tenant string, w wire.Request, header http.Header) (*ask, error) {
	a := &ask{
		id: uuid.Must(uuid.NewV7()), tenant: tenant, wire: w, header: header,
		table: g.routes.Current(), prices: g.prices.Current(), began: g.now(),
	}
	route, ok := a.table.Route(tenant, w.Model)
	if !ok {
		return nil, noModel(w.Model)
	}
	a.route = route
	if w.Surcharge != "" && g.cfg.Ledger && len(a.budgets()) > 0 {
		return nil, apierror.New(apierror.ReasonUnsupported, w.Surcharge+" asks for something that costs more than its tokens, which no budget here has room for",
			apierror.WithMetadata("field", w.Surcharge))
	}
	g.meter.asked(ctx, a)
	return a, nil
}

// exchange is an ask that was answered, or whose answer has begun. It must be
// closed with what became of it.
type exchange struct {
	*dispatch.Answer
	*books
	gateway *gateway
	quota   limits.Reservation
	closed  bool
}

// send gets an answer, or a stream that has begun. A [replayed] error has the answer
// of an earlier request.
func (g *gateway) send(ctx context.Context, a *ask) (*exchange, error) {
	if a.key != "" && !g.cfg.Ledger {
		return nil, apierror.New(apierror.ReasonUnsupported, "this gateway keeps no ledger, and so no answer for an idempotency key")
	}
	quota, err := g.admit(a)
	if err != nil {
		return nil, err
	}
	b := &books{ledger: g.ledger, cfg: g.cfg, ask: a, log: g.log}
	answer, err := g.dispatcher.Do(ctx, dispatch.Request{
		ID: a.id.String(), Route: a.route, Wire: a.wire, Header: a.header, Say: a.say, Books: b,
	})
	if err != nil {
		quota.Correct(0)
		b.failed(ctx, g.settler)
		g.meter.failed(ctx, a, err)
		return nil, err
	}
	return &exchange{Answer: answer, books: b, gateway: g, quota: quota}, nil
}

// admit asks the tenant's limits.
func (g *gateway) admit(a *ask) (limits.Reservation, error) {
	limit, limited := a.table.LimitOf(a.tenant)
	if !limited {
		return limits.Reservation{}, nil
	}
	most := a.wire.MaxTokens
	if most == 0 {
		most = a.route.MaxTokens
	}
	tokens := wire.EstimateTokens(a.wire.Body) + min(most, a.route.MaxTokensCap)*max(a.wire.Choices, 1)
	quota, after, ok := g.tenants.Reserve(a.tenant, limit, tokens)
	if !ok {
		return limits.Reservation{}, apierror.New(apierror.ReasonRateLimited,
			"too many requests, or tokens, for this tenant's limit of a minute", apierror.WithRetryAfter(after))
	}
	return quota, nil
}

// close books what became of an answer, once. Stored is what a repeat is told; nil:
// that the answer was cut.
func (x *exchange) close(ctx context.Context, o dispatch.Outcome, stored *ledger.Stored) {
	if x.closed {
		return
	}
	x.closed = true
	x.quota.Correct(tokens(o.Usage))
	x.answered(ctx, x.gateway.settler, o, stored)
	x.gateway.meter.answered(ctx, x, o)
}

func tokens(u wire.Usage) int64 {
	return u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h + u.Output
}

// before returns the answer that an error stands for, if the request was answered
// before.
func before(err error) (*ledger.Replay, bool) {
	r, ok := errors.AsType[replayed](err)
	return r.Replay, ok
}
