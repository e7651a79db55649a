package llm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func drop() Fault { return Fault{Kind: FaultDrop} }

func TestRulesLimitWhatTheyStrike(t *testing.T) {
	never := 0.0
	one := subject{operation: OperationAnswer, provider: OpenAI, model: "gpt-sandbox", key: "sandbox-a", ask: "tell me of the sea"}
	lookup := one
	lookup.operation = OperationLookup
	for name, test := range map[string]struct {
		rule    Rule
		subject subject
		want    []bool // by send
	}{
		"always":           {Rule{}, one, []bool{true, true}},
		"never":            {Rule{Rate: &never}, one, []bool{false, false}},
		"its provider":     {Rule{Provider: OpenAI}, one, []bool{true}},
		"another provider": {Rule{Provider: Anthropic}, one, []bool{false}},
		"its model":        {Rule{Model: "gpt-sandbox"}, one, []bool{true}},
		"another model":    {Rule{Model: "sandbox-small"}, one, []bool{false}},
		"its key":          {Rule{Key: "sandbox-a"}, one, []bool{true}},
		"another key":      {Rule{Key: "sandbox-b"}, one, []bool{false}},
		"its prompt":       {Rule{Prompt: "the sea"}, one, []bool{true}},
		"another prompt":   {Rule{Prompt: "the land"}, one, []bool{false}},
		"first send only":  {Rule{Sends: 1}, one, []bool{true, false}},
		"so many times":    {Rule{Times: 2}, one, []bool{true, true, false}},
		"the nth":          {Rule{Nth: 2}, one, []bool{false, true, false}},
		"no lookup":        {Rule{}, lookup, []bool{false}},
		"lookups":          {Rule{Operations: []Operation{OperationLookup}}, lookup, []bool{true}},
		"lookups only":     {Rule{Operations: []Operation{OperationLookup}}, one, []bool{false}},
	} {
		t.Run(name, func(t *testing.T) {
			test.rule.Fault = drop()
			var p plan
			p.set(Script{Rules: []Rule{test.rule}})
			for i, want := range test.want {
				test.subject.sent = uint64(i + 1)
				require.Equal(t, want, p.strike(test.subject).Kind != "", "send %d", i+1)
			}
		})
	}
}

func TestOneSeedMeetsTheSameRequestsInAnyOrder(t *testing.T) {
	strikes := func(seed uint64, order []int) map[int]FaultKind {
		rate := 0.2
		var p plan
		p.set(Script{Seed: seed, Rules: []Rule{{Fault: drop(), Rate: &rate}, {Fault: Fault{Kind: FaultError}, Rate: &rate}}})
		struck := map[int]FaultKind{}
		for _, i := range order {
			r := request{model: "m", blocks: []block{{raw: fmt.Append(nil, i)}}}
			struck[i] = p.strike(subject{operation: OperationAnswer, identity: r.fingerprint(), sent: 1}).Kind
		}
		return struck
	}
	order := rand.Perm(200)
	forward := strikes(7, order)
	slices.Sort(order)
	require.Equal(t, forward, strikes(7, order))
	require.NotEqual(t, forward, strikes(8, order))
	count := map[FaultKind]int{}
	for _, kind := range forward {
		count[kind]++
	}
	require.InDelta(t, 40, count[FaultDrop], 20)
	require.InDelta(t, 32, count[FaultError], 20)
}

func TestAScriptIsInForceUntilItIsCleared(t *testing.T) {
	w := start(t)
	set := w.call("", "/llm/faults", `{"seed":1,"rules":[{"kind":"status","status":503,"model":"gpt-sandbox"},{"kind":"status","status":500,"operations":["models","count_tokens"]}]}`)
	require.Equal(t, 200, set.status, set.body)
	require.Equal(t, 503, w.ask(OpenAI, "gpt-sandbox", "x", nil).status)
	require.Equal(t, 200, w.ask(OpenAI, "sandbox-small", "x", nil).status)
	require.Equal(t, 500, w.call(OpenAI, "/llm/openai/v1/models", "").status)
	require.Equal(t, 500, w.call(Anthropic, "/llm/anthropic/v1/messages/count_tokens", bodyOf(t, Anthropic, "claude-sandbox", "x")).status)
	rules := decode[Script](t, w.call("", "/llm/faults", "").body).Rules
	require.Equal(t, uint64(1), rules[0].Struck)
	require.Equal(t, uint64(2), rules[1].Struck)

	w.stop()
	again := startAt(t, w.path)
	require.Equal(t, 503, again.ask(OpenAI, "gpt-sandbox", "x", nil).status, "it is kept")
	require.NoError(t, again.handler.SetScript(Script{}))
	require.Equal(t, 200, again.ask(OpenAI, "gpt-sandbox", "x", nil).status)
}

func TestANonsensicalScriptIsRefused(t *testing.T) {
	w := start(t)
	for _, script := range []string{
		`{`, `{"rulez":[]}`, `{"rules":[{}]}`, `{"rules":[{"kind":"drop","rate":1.5}]}`, `{"rules":[{"kind":"drop","provider":"nobody"}]}`,
		`{"rules":[{"kind":"drop","operations":["dance"]}]}`, `{"latencies":[{"first_token":"-1s"}]}`, `{"latencies":[{"provider":"nobody"}]}`,
		`{"limits":[{"requests_per_minute":-1}]}`, `{"limits":[{"provider":"nobody"}]}`,
	} {
		require.Equal(t, 400, w.call("", "/llm/faults", script).status, script)
	}
	require.Equal(t, 200, w.ask(OpenAI, "gpt-sandbox", "x", nil).status)
}

func TestAFaultInThePromptPassesThroughWhateverIsInBetween(t *testing.T) {
	w := start(t)
	const prompt = "hello [[fault status; status=503; sends=2]]"
	require.Equal(t, 503, w.ask(OpenAI, "gpt-sandbox", prompt, nil).status)
	require.Equal(t, 503, w.ask(OpenAI, "gpt-sandbox", prompt, nil).status)
	require.Equal(t, 200, w.ask(OpenAI, "gpt-sandbox", prompt, nil).status, "the third send gets through")
	aimed := "[[fault status; status=500; provider=openai; model=sandbox-small; key=sandbox-a]][[fault status; status=501; provider=anthropic]]"
	require.Equal(t, 500, w.ask(OpenAI, "sandbox-small", aimed, nil).status)
	require.Equal(t, 200, w.ask(OpenAI, "gpt-sandbox", aimed, nil).status)
	require.Equal(t, 200, w.ask(OpenAI, "sandbox-small", aimed, nil, "Authorization", "Bearer sandbox-b").status)
	require.Equal(t, 501, w.ask(Anthropic, "claude-sandbox", aimed, nil).status)
	require.Equal(t, 502, w.ask(OpenAI, "sandbox-small", aimed, nil, FaultHeader, "status; status=502").status, "the header comes first")

	earlier := `{"model":"gpt-sandbox","messages":[{"role":"user","content":"[[fault drop]]"},{"role":"assistant","content":"x"},{"role":"user","content":"again"}]}`
	require.Equal(t, 200, w.call(OpenAI, paths[OpenAI], earlier).status, "only the last message is meant")
}

func TestAModelIsAsSlowAsItsProfile(t *testing.T) {
	l := Latency{FirstToken: Duration(time.Second), Chunk: Duration(100 * time.Millisecond), Jitter: 0.5}
	jittered := func(seed uint64) []time.Duration {
		p := pace{latency: l, jitter: rand.New(rand.NewPCG(seed, 0))}
		return []time.Duration{p.next(), p.next(), p.next()}
	}
	require.Equal(t, jittered(1), jittered(1))
	require.NotEqual(t, jittered(1), jittered(2))
	for i, d := range jittered(3) {
		base := []time.Duration{time.Second, 100 * time.Millisecond, 100 * time.Millisecond}[i]
		require.GreaterOrEqual(t, d, base)
		require.LessOrEqual(t, d, base+base/2)
	}

	w := start(t)
	require.NoError(t, w.handler.SetScript(Script{Latencies: []Latency{{Model: "gpt-sandbox", FirstToken: Duration(50 * time.Millisecond), Chunk: Duration(5 * time.Millisecond), Jitter: 0.1}}}))
	for _, fields := range [][]string{nil, streamed} {
		begun := time.Now()
		require.Equal(t, 200, w.ask(OpenAI, "gpt-sandbox", "x [[tokens 11]]", fields).status)
		require.GreaterOrEqual(t, time.Since(begun), 100*time.Millisecond)
	}
}
