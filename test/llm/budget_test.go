package llm

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// thrifty are routes to cheap models in both protocols, and one budget of so many
// dollars.
func thrifty(dollars string) string {
	return providers + `
routes:
  - {name: open, models: [sandbox-small], chain: [{provider: openai}]}
  - {name: claude, models: [thrifty], chain: [{provider: anthropic, model: sandbox-small}]}
budgets:
  - {name: pocket, period: total, limit_usd: "` + dollars + `"}
`
}

// thriftyModels are the models of thrifty, by the path of the protocol.
var thriftyModels = map[string]string{openAI: "sandbox-small", anthropic: "thrifty"}

const (
	pocket      = "0.002"
	pocketNanos = 2_000_000
)

// TestABudgetHoldsAtEveryInstant, with forty clients at two replicas who would spend
// it many times over.
func TestABudgetHoldsAtEveryInstant(t *testing.T) {
	t.Parallel()
	p := start(t, thrifty(pocket), "HOLDFAST_SHED_ENABLED", "false")
	saw := p.spend(pocketNanos, p.gateway, p.another("HOLDFAST_SHED_ENABLED", "false"))
	require.Zero(t, saw.over, "what was settled and reserved was above the limit, by up to %d nano-dollars", saw.by)
	require.Greater(t, saw.looks, 20, "the observer hardly looked")
	require.NotZero(t, saw.told["answered"])
	require.NotZero(t, saw.told["budget_spent"])
	require.NotZero(t, saw.told["BUDGET_SPENT"])
	// One by one, the rest can be spent: a budget that nobody gets at would hold, too.
	var rest tally
	for rest.counts["budget_spent"] == 0 {
		spender{platform: p, replica: p.gateway, tally: &rest}.ask(openAI, fmt.Sprintf("and another [[tokens %d]]", 200+rest.counts["answered"]))
	}
	require.NotZero(t, rest.counts["lowered"], "the last answers are shorter: %v", rest.counts)
	p.balance()
	require.LessOrEqual(t, p.invoiced(), int64(pocketNanos))
	require.Greater(t, p.invoiced(), int64(pocketNanos)*3/4)
}

// spending is what was seen while clients spent a budget.
type spending struct {
	looks, over int // of the observer; above the limit
	by          int64
	told        map[string]int // clients
}

// spend has clients spend all that there is of a budget, and watches it. They begin
// at the worst moment: each has seen that there is room when none has taken it yet.
func (p *platform) spend(limit int64, replicas ...*servicetest.Running) (saw spending) {
	p.t.Helper()
	const clients, each = 40, 3
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(time.Millisecond)}})
	var done atomic.Bool
	var watching sync.WaitGroup
	watching.Go(func() {
		for !done.Load() {
			var drawn int64
			err := p.gateway.Database.Pool.QueryRow(p.t.Context(), `SELECT coalesce(sum(settled + reserved), 0)::bigint FROM llm_budgets`).Scan(&drawn)
			if !assert.NoError(p.t, err) {
				return
			}
			saw.looks++
			if drawn > limit {
				saw.over++
				saw.by = max(saw.by, drawn-limit)
			}
		}
	})
	var told tally
	spender{platform: p, replica: p.gateway, tally: &told}.ask(openAI, "make the budget")
	release := p.holdBudgets()
	var spending sync.WaitGroup
	for client := range clients {
		s := spender{platform: p, replica: replicas[client%len(replicas)], tally: &told}
		spending.Go(func() {
			for i := range each {
				s.ask([]string{openAI, anthropic, ""}[(client/len(replicas)+i)%3], fmt.Sprintf("client %d, %d [[tokens 100]]", client, i))
			}
		})
	}
	release()
	spending.Wait()
	done.Store(true)
	watching.Wait()
	saw.told = told.counts
	p.t.Logf("clients were told %v; the observer looked %d times", saw.told, saw.looks)
	return saw
}

// holdBudgets locks all budgets, until release is called: that waits until more than
// fit into one stand before the lock.
func (p *platform) holdBudgets() (release func()) {
	p.t.Helper()
	const crowd = 8
	pool := p.gateway.Database.Pool
	tx, err := pool.Begin(p.t.Context())
	require.NoError(p.t, err)
	_, err = tx.Exec(p.t.Context(), `SELECT FROM llm_budgets FOR UPDATE`)
	require.NoError(p.t, err)
	return func() {
		p.t.Helper()
		assert.Eventually(p.t, func() bool {
			var waiting int
			err := pool.QueryRow(p.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
			return assert.NoError(p.t, err) && waiting >= crowd
		}, 30*time.Second, 5*time.Millisecond, "nobody reserves")
		assert.NoError(p.t, tx.Rollback(p.t.Context()))
	}
}

// spender is a client that goes on asking.
type spender struct {
	*platform
	replica *servicetest.Running
	*tally
}

// ask asks in a protocol; without a path, by gRPC. Whatever else than an answer comes
// must be that the budget is spent.
func (s spender) ask(path, prompt string) {
	if path == "" {
		p := prompted("sandbox-small", prompt)
		p.MaxTokens = 300
		_, err := llmv1.NewLLMGatewayServiceClient(s.replica.As(auth.DevelopmentKey)).Generate(s.t.Context(), &llmv1.GenerateRequest{Prompt: p})
		if err == nil {
			s.add("answered")
			return
		}
		s.add(string(reasonOf(err)))
		assert.Equal(s.t, apierror.ReasonBudgetSpent, reasonOf(err), err)
		return
	}
	body := strings.ReplaceAll(said(path, thriftyModels[path], prompt, asStream), `"max_tokens":1000`, `"max_tokens":300`)
	if path == openAI {
		body = said(path, thriftyModels[path], prompt, asJSON, `"max_completion_tokens":300`)
	}
	a := asked(s.t, s.replica.HTTPURL, path, body)
	if a.header.Get("Holdfast-Max-Tokens") != "" {
		s.add("lowered")
	}
	if a.status == http.StatusOK {
		s.add("answered")
		return
	}
	said := a.problem(s.t)
	s.add(said.Error.Code)
	assert.Equal(s.t, http.StatusTooManyRequests, a.status, a.body)
	assert.Equal(s.t, "budget_spent", said.Error.Code, a.body)
	assert.Equal(s.t, "false", a.header.Get("X-Should-Retry"))
}

// TestASpentBudgetIsSaidInEachProtocol, and nothing has left for a provider.
func TestASpentBudgetIsSaidInEachProtocol(t *testing.T) {
	t.Parallel()
	p := start(t, strings.Replace(thrifty("1"), "budgets:", `budgets:
  - {name: pocket, tenant: acme, period: total, limit_usd: "0.0001"}
  - {name: monthly, period: month, limit_usd: "100"}`, 1))
	for _, path := range []string{openAI, anthropic} {
		for _, how := range []string{asStream, asJSON} {
			a := p.ask(path, said(path, thriftyModels[path], "say something", how))
			require.Equal(t, http.StatusTooManyRequests, a.status, a.body)
			said := a.problem(t)
			require.Equal(t, "rate_limit_error", said.Error.Type, a.body)
			require.Equal(t, "budget_spent", said.Error.Code, a.body)
			require.Contains(t, said.Error.Message, "pocket")
			require.Equal(t, "false", a.header.Get("X-Should-Retry"))
			require.Empty(t, a.header.Get("Retry-After"), "a budget of no period never begins anew")
			require.Equal(t, "application/json", a.header.Get("Content-Type"))
		}
	}
	client := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey))
	_, whole := client.Generate(t.Context(), &llmv1.GenerateRequest{Prompt: prompted("sandbox-small", "say something")})
	_, streamed := received(client.StreamGenerate(t.Context(), &llmv1.StreamGenerateRequest{Prompt: prompted("thrifty", "say something")}))
	for _, err := range []error{whole, streamed} {
		require.Equal(t, apierror.ReasonBudgetSpent, reasonOf(err), err)
		require.Equal(t, "pocket", apierror.From(err).Metadata("budget"))
		require.Equal(t, "100000", apierror.From(err).Metadata("left_nanodollars"))
	}
	require.Empty(t, p.onInvoice())
	require.Zero(t, p.settled())
	a := p.ask(openAI, said(openAI, "sandbox-small", "say something"), "Authorization", "Bearer "+otherTenant)
	require.Equal(t, http.StatusOK, a.status, "another tenant's budget: %s", a.body)
	require.Len(t, p.onInvoice(), 1)
}

// TestAnAnswerIsAsLongAsTheBudgetAllows: with a little left, it is bounded, and says
// so.
func TestAnAnswerIsAsLongAsTheBudgetAllows(t *testing.T) {
	t.Parallel()
	const limit = 600_000 // nano-dollars
	bounded := func(t *testing.T) *platform { return start(t, thrifty("0.0006")) }
	// check holds that an answer ended where it had to, and that the budget bore it.
	check := func(t *testing.T, p *platform, lowered int64) {
		t.Helper()
		require.Positive(t, lowered)
		for _, e := range p.onInvoice() {
			require.Equal(t, lowered, e.Usage.Output)
		}
		p.balance()
		require.LessOrEqual(t, p.invoiced(), int64(limit))
	}
	for path, finish := range map[string]string{openAI: `"finish_reason":"length"`, anthropic: `"stop_reason":"max_tokens"`} {
		for _, how := range []string{asStream, asJSON} {
			t.Run(thriftyModels[path]+how, func(t *testing.T) {
				t.Parallel()
				p := bounded(t)
				a := p.ask(path, said(path, thriftyModels[path], "write on [[tokens 900]]", how))
				require.Equal(t, http.StatusOK, a.status, a.body)
				require.Contains(t, strings.ReplaceAll(a.body, `": "`, `":"`), finish)
				lowered, err := strconv.ParseInt(a.header.Get("Holdfast-Max-Tokens"), 10, 64)
				require.NoError(t, err)
				check(t, p, lowered)
			})
		}
	}
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		p := bounded(t)
		prompt := prompted("thrifty", "write on [[tokens 900]]")
		prompt.MaxTokens = 1000
		answer, err := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey)).Generate(t.Context(), &llmv1.GenerateRequest{Prompt: prompt})
		require.NoError(t, err)
		require.Equal(t, llmv1.FinishReason_FINISH_REASON_LENGTH, answer.GetFinishReason())
		check(t, p, answer.GetUsage().GetOutputTokens())
	})
}
