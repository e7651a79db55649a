package dispatch

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

var update = flag.Bool("update", false, "write docs/llm-errors.md")

// TestEveryErrorGoesTheWayOfTheTable asks two targets: the first, with two keys, always
// answers with the error, and the second answers.
func TestEveryErrorGoesTheWayOfTheTable(t *testing.T) {
	const a1, a2, b = "a/a1 ", "a/a2 ", "b/b1 ok"
	type row struct {
		protocols []wire.Protocol
		status    int
		code      string
		way       []string
		rests     Reason // of the first key; "": it does not
		counted   uint   // by the breaker of the first target
	}
	both, openai, anthropic := protocols, protocols[:1], protocols[1:]
	never := func(status int) row { return row{both, status, "", []string{a1 + "invalid"}, "", 1} }
	eachKey := func(p []wire.Protocol, status int, code string, reason Reason) row {
		return row{p, status, code, []string{a1 + string(reason), a2 + string(reason), b}, reason, 0}
	}
	twice := func(status int, reason Reason, counted uint) row {
		return row{both, status, "", []string{a1 + string(reason), a1 + string(reason), b}, "", counted}
	}
	rows := []row{
		never(400), never(404), never(413), never(422), never(418),
		eachKey(both, 401, "", KeyBroken), eachKey(both, 403, "", KeyBroken), eachKey(both, 402, "", QuotaExhausted),
		eachKey(both, 429, "", RateLimited),
		eachKey(anthropic, 429, "enforced_spend_limit_reached", QuotaExhausted),
		twice(408, UpstreamTimeout, 2), twice(409, Conflict, 0), twice(500, ServerError, 2), twice(502, ServerError, 2), twice(504, UpstreamTimeout, 2), twice(599, ServerError, 2),
		{both, 503, "", []string{a1 + "overloaded", b}, "", 1},
		{both, 529, "", []string{a1 + "overloaded", b}, "", 1},
		{both, 307, "", []string{a1 + "misrouted", b}, "", 1},
	}
	for _, code := range exhausted {
		rows = append(rows, eachKey(openai, 429, code, QuotaExhausted))
	}
	for _, r := range rows {
		for _, p := range r.protocols {
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v %d %s stream=%v", p, r.status, r.code, stream), func(t *testing.T) {
					hint := ""
					if r.status == 429 {
						hint = "100" // else it is awake again at once
					}
					first := newUpstream(t, status(r.status, "some_error", r.code, "Location", "/elsewhere", "Retry-After", hint))
					second := newUpstream(t, answer(p))
					if stream {
						second.acts[0] = events(recording(p, "second"))
					}
					d := newDispatcher(t)
					route := chained(provided("a", p, first.URL, "a1", "a2"), provided("b", p, second.URL, "b1"))
					got, err := d.Do(t.Context(), asking(t, route, p, stream))
					if r.way[len(r.way)-1] == b {
						require.NoError(t, err)
						require.Equal(t, r.way, way(got.Path))
						if stream {
							require.NoError(t, got.Stream.Close())
						}
						require.Len(t, second.requests(), 1)
					} else {
						f := failed(t, err)
						require.Equal(t, r.way, way(f.Path))
						require.Equal(t, r.status, f.Status)
						require.True(t, f.Permanent)
						require.Zero(t, f.RetryAfter)
						require.Empty(t, second.requests())
					}
					s := d.Status()[0]
					require.Equal(t, r.rests, s.Keys[0].Why)
					require.Equal(t, r.counted, s.Models[0].Calls)
					for _, request := range first.requests() {
						require.NotEqual(t, "/elsewhere", request.path, "no redirect is followed")
					}
				})
			}
		}
	}
}

// TestTheCodeIsReadAndNotTheType as OpenAI's types do not tell an empty account
// from a busy key.
func TestTheCodeIsReadAndNotTheType(t *testing.T) {
	require.Equal(t, RateLimited, ruleOf(wire.OpenAI, &wire.ProviderError{Status: 429, Type: "insufficient_quota", Code: "rate_limit_exceeded"}).reason)
	require.Equal(t, QuotaExhausted, ruleOf(wire.OpenAI, &wire.ProviderError{Status: 429, Type: "requests", Code: "insufficient_quota"}).reason)
	require.Equal(t, RateLimited, ruleOf(wire.Anthropic, &wire.ProviderError{Status: 429, Code: "insufficient_quota"}).reason, "a code of another protocol says nothing")
}

// TestEveryStatusIsInTheTable so that none falls through.
func TestEveryStatusIsInTheTable(t *testing.T) {
	for _, p := range protocols {
		for code := 300; code < 600; code++ {
			require.NotEmpty(t, ruleOf(p, &wire.ProviderError{Status: code}).why, "%v %d", p, code)
		}
	}
}

// TestDocsHaveTheTableOfErrors holds docs/llm-errors.md to the table. `make
// generate` runs it with -update.
func TestDocsHaveTheTableOfErrors(t *testing.T) {
	const file = "../../../docs/llm-errors.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(document()), 0o644))
	}
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, document(), string(written), "docs/llm-errors.md is stale: run make generate")
}

func document() string {
	var b strings.Builder
	b.WriteString(`# Errors of language models' providers

<!-- Generated from services/llm-gateway/dispatch/table.go by make generate. -->

What the gateway does about an attempt that failed, and whom the failure counts against. The first row that fits is
meant. An error event of a stream, before the first content, is read as the status that it stands for.

- **here**: the same target with the same key, once, after a pause; then the next target.
- **next key**: another key of the same target, then the next target.
- **next target**: who comes next in the route's chain; at its end, after a pause, whoever may still be asked.
- **never**: the request ends.

A header ` + "`x-should-retry: true`" + ` makes *never* of a status *here*, and ` + "`false`" + ` ends what would be asked of the same target.
` + "`retry-after-ms`" + `, then ` + "`retry-after`" + `, say how long to pause and how long a key rests; without them it is 0.5 s, doubled with
each attempt up to 8 s, less up to a quarter. A pause that does not fit into the request's time is not waited for.

## Answers with an error

| protocol | status | code | outcome | then | counts against | the key rests | why |
| --- | --- | --- | --- | --- | --- | --- | --- |
`)
	for _, r := range answers {
		protocol, code, statuses := "any", "any", fmt.Sprint(r.from)
		if r.protocol != 0 {
			protocol = r.protocol.String()
		}
		if r.to != r.from {
			statuses = fmt.Sprintf("%d-%d", r.from, r.to)
		}
		if r.codes != nil {
			code = "`" + strings.Join(r.codes, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` | %s | %s | %s | %s |\n", protocol, statuses, code, r.reason, r.verdict, r.against, r.rest, r.why)
	}
	b.WriteString("\n## Attempts without an answer\n\n| outcome | then | counts against | why |\n| --- | --- | --- | --- |\n")
	for _, r := range endings {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.reason, r.verdict, r.against, r.why)
	}
	return b.String()
}
