package llm

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// chaotic are routes on which every way to fail leads somewhere: along chains, also
// from one protocol to the other for who asks by gRPC, and into short timeouts.
const chaotic = providers + `
routes:
  - {name: small, models: [sandbox-small], chain: [{provider: openai}, {provider: compatible}], timeouts: {connect: 900ms, first_token: 1s, idle: 1s}}
  - {name: large, models: [sandbox-large], chain: [{provider: anthropic}, {provider: compatible}], timeouts: {connect: 900ms, first_token: 1s, idle: 1s}, disconnect: drain, drain_bound: 1s}
  - {name: reasoning, models: [sandbox-reasoning], chain: [{provider: openai}, {provider: anthropic}], timeouts: {connect: 900ms, first_token: 1s, idle: 1s}, disconnect: detach}
budgets:
  - {name: monthly, period: month, limit_usd: "1000"}
`

// everyFault fails about half of all attempts, in each way that a provider has.
func everyFault() []sandbox.Rule {
	hour := sandbox.Duration(time.Hour)
	var rules []sandbox.Rule
	for _, fault := range []sandbox.Fault{
		{Kind: sandbox.FaultStatus, Status: 500},
		{Kind: sandbox.FaultStatus, Status: 503},
		{Kind: sandbox.FaultStatus, Status: 529},
		{Kind: sandbox.FaultStatus, Status: 429, Header: map[string]string{"Retry-After-Ms": "50"}},
		{Kind: sandbox.FaultDrop},
		{Kind: sandbox.FaultDrop, When: sandbox.After},
		{Kind: sandbox.FaultDrop, When: sandbox.After, End: sandbox.EndReset},
		{Kind: sandbox.FaultTimeout, Delay: hour},
		{Kind: sandbox.FaultTimeout, When: sandbox.After, Delay: hour},
		{Kind: sandbox.FaultFirstToken, Delay: hour},
		{Kind: sandbox.FaultCut, Bytes: 150},
		{Kind: sandbox.FaultCut, Chunks: 3, End: sandbox.EndReset},
		{Kind: sandbox.FaultCut, Chunks: 7, End: sandbox.EndClean},
		{Kind: sandbox.FaultError},
		{Kind: sandbox.FaultError, Chunks: 4},
		{Kind: sandbox.FaultNoUsage},
		{Kind: sandbox.FaultStall, Chunks: 5, Delay: hour},
		{Kind: sandbox.FaultTrickle, Bytes: 3},
		{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(5 * time.Millisecond)},
	} {
		rules = append(rules, sandbox.Rule{Fault: fault, Rate: new(0.035)})
	}
	return rules
}

// TestTheLedgerEqualsTheInvoiceAfterChaos: whatever fails, and whoever leaves, what
// two replicas booked in the end is what the providers billed.
func TestTheLedgerEqualsTheInvoiceAfterChaos(t *testing.T) {
	t.Parallel()
	p := start(t, chaotic, "HOLDFAST_SHED_ENABLED", "false")
	replicas := []*servicetest.Running{p.gateway, p.another("HOLDFAST_SHED_ENABLED", "false")}
	for _, replica := range replicas {
		p.holdBreakersClosed(replica)
	}
	p.script(everyFault()...)
	const clients, each = 32, 10
	var working sync.WaitGroup
	var told tally
	for client := range clients {
		working.Go(func() {
			c := chaosClient{t: t, at: replicas[client%len(replicas)], draw: rand.New(rand.NewPCG(1, uint64(client))), tally: &told}
			for i := range each {
				c.ask(fmt.Sprintf("client %d asks its question %d", client, i))
			}
		})
	}
	working.Wait()
	t.Logf("clients were told %v", told.counts)
	for _, what := range []string{"whole", "left", "interrupted"} {
		require.NotZero(t, told.counts[what], "chaos was too tame, or too wild: %v", told.counts)
	}
	p.balance()
	for _, rule := range p.providers.Script().Rules {
		require.NotZero(t, rule.Struck, "no attempt met %+v", rule.Fault)
	}
	counts := p.attempts()
	t.Logf("attempts ended %v, %d of them by asking", counts, p.askedAbout())
	require.NotZero(t, counts["settled"])
	require.NotZero(t, counts["failed"])
	require.NotZero(t, p.askedAbout(), "nothing was ever unknown")
}

// askedAbout is how many attempts a provider was asked about.
func (p *platform) askedAbout() (n int) {
	p.t.Helper()
	require.NoError(p.t, p.gateway.Database.Pool.QueryRow(p.t.Context(), `SELECT count(*) FROM llm_attempts WHERE lookups > 0`).Scan(&n))
	return n
}

// holdBreakersClosed lets a replica go on asking providers that keep failing: an open
// breaker would keep it from the faults that this is about.
func (p *platform) holdBreakersClosed(replica *servicetest.Running) {
	p.t.Helper()
	// A breaker is there once its target has been asked: all of a chain are if all fail.
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultStatus, Status: 503}})
	client := llmv1.NewLLMGatewayServiceClient(replica.As(auth.DevelopmentKey))
	var asking sync.WaitGroup
	for _, model := range []string{"sandbox-small", "sandbox-large", "sandbox-reasoning"} {
		asking.Go(func() {
			_, err := client.Generate(p.t.Context(), &llmv1.GenerateRequest{Prompt: prompted(model, "be there")})
			assert.Error(p.t, err)
		})
	}
	asking.Wait()
	for _, name := range []string{
		"llm:openai", "llm:openai:sandbox-small", "llm:openai:sandbox-reasoning", "llm:anthropic", "llm:anthropic:sandbox-large",
		"llm:anthropic:sandbox-reasoning", "llm:compatible", "llm:compatible:sandbox-small", "llm:compatible:sandbox-large",
	} {
		request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPut, replica.AdminURL+"/breakers/"+name, strings.NewReader(`{"mode":"forced_closed"}`))
		require.NoError(p.t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(p.t, err)
		response.Body.Close()
		require.Equal(p.t, http.StatusOK, response.StatusCode, name)
	}
}

// tally counts what clients were told.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[what]++
}

// chaosClient asks in every way that there is, and does not always stay.
type chaosClient struct {
	t    *testing.T
	at   *servicetest.Running
	draw *rand.Rand
	*tally
}

func (c *chaosClient) ask(prompt string) {
	prompt = fmt.Sprintf("%s, %s [[tokens %d]]", strings.Repeat("as ever ", 20*c.draw.IntN(3)), prompt, 5+c.draw.IntN(60))
	ctx, leave := context.WithCancel(c.t.Context())
	defer leave()
	if c.draw.IntN(4) == 0 {
		time.AfterFunc(time.Duration(c.draw.IntN(400))*time.Millisecond, leave)
	}
	switch c.draw.IntN(5) {
	case 0:
		c.byGRPC(ctx, prompt)
	case 1:
		c.byGRPCStream(ctx, prompt)
	default:
		c.byHTTP(ctx, prompt)
	}
}

func (c *chaosClient) byHTTP(ctx context.Context, prompt string) {
	type kind struct{ path, model string }
	of := []kind{{openAI, "sandbox-small"}, {openAI, "sandbox-reasoning"}, {anthropic, "sandbox-large"}, {anthropic, "sandbox-reasoning"}}[c.draw.IntN(4)]
	how := []string{asStream, asStream, asJSON}[c.draw.IntN(3)]
	options := []string{how}
	if of.path == anthropic {
		options = append(options, `"system":[{"type":"text","text":"`+strings.Repeat("be brief and be kind ", 20)+`","cache_control":{"type":"ephemeral"}}]`)
	}
	response, err := post(c.t, ctx, c.at.HTTPURL, of.path, said(of.path, of.model, prompt, options...))
	if err != nil {
		c.add("left")
		return
	}
	defer response.Body.Close()
	c.add(fmt.Sprint(response.StatusCode))
	body, err := c.read(response.Body)
	switch {
	case err != nil:
		c.add("left")
	case strings.HasSuffix(body, protocols[0].end) || strings.HasSuffix(body, protocols[1].end):
		c.add("whole")
	case strings.Contains(body, "generation_interrupted"):
		c.add("interrupted")
	}
}

// read reads a body, now and then slowly.
func (c *chaosClient) read(body io.Reader) (string, error) {
	if c.draw.IntN(4) > 0 {
		all, err := io.ReadAll(body)
		return string(all), err
	}
	var all strings.Builder
	for {
		_, err := io.CopyN(&all, body, 512)
		if err != nil {
			if err == io.EOF { //nolint:errorlint // io.CopyN returns it as it is
				err = nil
			}
			return all.String(), err
		}
		time.Sleep(10 * time.Millisecond) // a slow reader
	}
}

// prompted is a prompt of the gRPC API.
func prompted(model, text string) *llmv1.Prompt {
	return &llmv1.Prompt{Model: model, MaxTokens: 500, Messages: []*llmv1.Message{{
		Role: llmv1.Role_ROLE_USER, Parts: []*llmv1.Part{{Kind: &llmv1.Part_Text{Text: text}}},
	}}}
}

func (c *chaosClient) byGRPC(ctx context.Context, prompt string) {
	model := []string{"sandbox-small", "sandbox-large", "sandbox-reasoning"}[c.draw.IntN(3)]
	p := prompted(model, prompt)
	p.Tools = []*llmv1.Tool{{Name: "weather", Description: "tells the weather", Parameters: `{"type":"object","properties":{"city":{"type":"string"}}}`}}
	_, err := c.client().Generate(ctx, &llmv1.GenerateRequest{Prompt: p})
	c.add(fmt.Sprintf("gRPC %t", err == nil))
}

func (c *chaosClient) byGRPCStream(ctx context.Context, prompt string) {
	model := []string{"sandbox-small", "sandbox-large", "sandbox-reasoning"}[c.draw.IntN(3)]
	_, err := received(c.client().StreamGenerate(ctx, &llmv1.StreamGenerateRequest{Prompt: prompted(model, prompt)}))
	c.add(fmt.Sprintf("gRPC stream %t", err == nil))
}

func (c *chaosClient) client() llmv1.LLMGatewayServiceClient {
	return llmv1.NewLLMGatewayServiceClient(c.at.As(auth.DevelopmentKey))
}

// received reads a stream of the gRPC API to its end.
func received(stream grpc.ServerStreamingClient[llmv1.StreamGenerateResponse], err error) ([]*llmv1.StreamGenerateResponse, error) {
	if err != nil {
		return nil, err
	}
	var all []*llmv1.StreamGenerateResponse
	for {
		message, err := stream.Recv()
		if err == io.EOF { //nolint:errorlint // gRPC returns it as it is
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, message)
	}
}

// TestWithoutAskingTheLedgerDiffersFromTheInvoice is the control: of a stream that was
// cut, a gateway that cannot ask books an estimate, and the comparison sees it.
func TestWithoutAskingTheLedgerDiffersFromTheInvoice(t *testing.T) {
	t.Parallel()
	p := start(t, strings.ReplaceAll(everyModel, `lookup_url: "{sandbox}/llm/requests/{id}"`, ""))
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultCut, Chunks: 3}})
	for _, protocol := range protocols {
		a := p.ask(protocol.path, said(protocol.path, protocol.model, "say something", asStream))
		require.Contains(t, a.body, "generation_interrupted")
	}
	p.settled()
	bills, booked := p.onInvoice(), p.inLedger()
	require.Len(t, booked, len(protocols))
	for id, e := range booked {
		require.Greater(t, e.Cost, bills[id].Cost, "an estimate is on the safe side")
	}
}
