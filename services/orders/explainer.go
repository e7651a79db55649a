package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

const (
	// patience is how long a model is waited for: less than the method's three
	// seconds, so that there is time to answer without it.
	patience = 2 * time.Second
	// maxExplanation is how many tokens a model may answer with. Three short
	// sentences take a third of it; it bounds what one call can cost.
	maxExplanation = 200
	// maxExplanationBytes is what is believed to be three short sentences.
	maxExplanationBytes = 2000
)

// LLMConfig is how orders gets at language models.
type LLMConfig struct {
	Target string `env:"HOLDFAST_LLM_TARGET" doc:"where the LLM gateway answers gRPC; empty: orders are explained without one"`
	Model  string `env:"HOLDFAST_LLM_MODEL" envDefault:"sandbox-small" doc:"which of the gateway's models explains orders"`
}

// Validate reports every setting that could not work.
func (c LLMConfig) Validate() error {
	if c.Target != "" && (c.Model == "" || len(c.Model) > 128) {
		return errors.New("HOLDFAST_LLM_MODEL must name a model of the gateway, in up to 128 bytes")
	}
	return nil
}

// modelsAreWorth is what the LLM gateway is worth to this service: little, since
// there is an answer without it.
//
//   - One attempt. The gateway has tried every provider itself; and without an
//     idempotency key a repeat is paid for again.
//   - 16 calls at once, and hardly any waiting for one's turn: who comes after
//     them is told the plain sentence at once, and holds nothing that other RPCs
//     need.
//   - What takes as long as we wait counts as failed, although it is our own
//     deadline that ends it: a gateway that has become slow is then left alone,
//     and answers do not all take two seconds.
func modelsAreWorth() resilience.Config {
	worth := resilience.Defaults()
	worth.MaxAttempts = 1
	worth.MaxConcurrent = 16
	worth.MaxWait = 10 * time.Millisecond
	worth.BreakerSlow = patience - patience/20
	return worth
}

// explainer says how an order stands.
type explainer struct {
	models llmv1.LLMGatewayServiceClient // nil: there are none
	model  string
	log    *slog.Logger
}

// newExplainer connects to the LLM gateway, if there is one. It is called with
// this service's own credential and in the name of the order's tenant, whose
// budget it is.
func newExplainer(
	lifecycle fx.Lifecycle, cfg LLMConfig, credentials auth.Config, environment config.Environment, dependencies *resilience.Registry, log *slog.Logger,
) (*explainer, error) {
	if cfg.Target == "" {
		return &explainer{log: log}, nil
	}
	policies, err := policy.Load(llmv1.File_holdfast_llm_v1_llm_proto.Services().ByName("LLMGatewayService"))
	if err != nil {
		return nil, fmt.Errorf("policies of the LLM gateway: %w", err)
	}
	dependency, err := dependencies.Add("llm-gateway", modelsAreWorth(), policies)
	if err != nil {
		return nil, err
	}
	conn, err := service.Dial(cfg.Target, dependency, credentials.Token(environment))
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(conn.Close))
	return &explainer{models: llmv1.NewLLMGatewayServiceClient(conn), model: cfg.Model, log: log}, nil
}

// explain never fails: where no model answers as it should, a sentence made from
// the state does.
func (e *explainer) explain(ctx context.Context, o *Order) *ordersv1.ExplainOrderResponse {
	text, model, err := e.ask(ctx, o)
	if err != nil {
		reason := withoutModel(ctx, err)
		countExplanation(ctx, reason)
		if reason != reasonAbsent {
			e.log.DebugContext(ctx, "an order is explained without a model", "reason", reason, "cause", err)
		}
		return &ordersv1.ExplainOrderResponse{Text: inWords(o), Degraded: true}
	}
	countExplanation(ctx, reasonNone)
	return &ordersv1.ExplainOrderResponse{Text: text, Model: model}
}

var (
	// errNoModels says that this deployment has no LLM gateway.
	errNoModels = errors.New("there is no LLM gateway")
	// errUnusable says that a model answered, and not with an explanation.
	errUnusable = errors.New("the model's answer cannot be used")
)

// ask has a model explain an order, within a bound of its own.
func (e *explainer) ask(ctx context.Context, o *Order) (text, model string, err error) {
	if e.models == nil {
		return "", "", errNoModels
	}
	known, err := factsOf(o)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patienceOf(ctx, time.Now()))
	defer cancel()
	answer, err := e.models.Generate(auth.ActAs(ctx, o.tenant), &llmv1.GenerateRequest{Prompt: &llmv1.Prompt{
		Model:     e.model,
		System:    instructions,
		Messages:  []*llmv1.Message{{Role: llmv1.Role_ROLE_USER, Parts: []*llmv1.Part{{Kind: &llmv1.Part_Text{Text: known}}}}},
		MaxTokens: maxExplanation,
	}})
	if err != nil {
		return "", "", fmt.Errorf("explain order %s: %w", o.id, err)
	}
	if text, err = explanationIn(answer); err != nil {
		return "", "", fmt.Errorf("explain order %s: %w", o.id, err)
	}
	return text, answer.GetServed().GetModel(), nil
}

// patienceOf leaves a quarter of the caller's time to answer without a model.
func patienceOf(ctx context.Context, now time.Time) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return patience
	}
	left := deadline.Sub(now)
	return min(patience, left-left/4)
}

// explanationIn returns the text of a whole answer that is text. Half a sentence
// is worse than a plain one.
func explanationIn(answer *llmv1.GenerateResponse) (string, error) {
	if reason := answer.GetFinishReason(); reason != llmv1.FinishReason_FINISH_REASON_STOP {
		return "", fmt.Errorf("%w: it ended with %s", errUnusable, reason)
	}
	var b strings.Builder
	for _, part := range answer.GetParts() {
		text, ok := part.GetKind().(*llmv1.Part_Text)
		if !ok {
			return "", fmt.Errorf("%w: it is more than text", errUnusable)
		}
		b.WriteString(text.Text)
	}
	text := strings.TrimSpace(b.String())
	switch {
	case text == "":
		return "", fmt.Errorf("%w: it is empty", errUnusable)
	case len(text) > maxExplanationBytes:
		return "", fmt.Errorf("%w: it has %d bytes", errUnusable, len(text))
	}
	return text, nil
}

// withoutModel folds why no model explained an order into a few words, for the
// metric.
func withoutModel(ctx context.Context, err error) string {
	reason, _ := apierror.ReasonOf(err)
	switch {
	case errors.Is(err, errNoModels):
		return reasonAbsent
	case errors.Is(err, errUnusable):
		return reasonUnusable
	case ctx.Err() != nil:
		return reasonLeft
	case reason == apierror.ReasonBudgetSpent:
		return reasonBudget
	case reason == apierror.ReasonBreakerOpen, reason == apierror.ReasonOverloaded:
		return reasonRefused
	case isTimeout(err):
		return reasonSlow
	default:
		return reasonFailed
	}
}

// ExplainOrder says in words how an order stands.
func (a *api) ExplainOrder(ctx context.Context, r *ordersv1.ExplainOrderRequest) (*ordersv1.ExplainOrderResponse, error) {
	id, err := uuid.Parse(r.GetId())
	if err != nil {
		return nil, toStatus(ErrNotFound)
	}
	o, err := a.store.get(ctx, auth.Tenant(ctx), id)
	if err != nil {
		return nil, toStatus(err)
	}
	return a.explainer.explain(ctx, o), nil
}
