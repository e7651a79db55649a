package llm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// entry is what one attempt cost, on the invoice or in the ledger.
type entry struct {
	Provider, Model string
	Usage           sandbox.Usage
	Cost            int64 // in nano-dollars
}

// onInvoice are the providers' bills, by the Holdfast-Request-Id of the attempt.
func (p *platform) onInvoice() map[string]entry {
	p.t.Helper()
	rows, _, err := p.providers.Invoice().Rows(sandbox.Selection{})
	require.NoError(p.t, err)
	bills := map[string]entry{}
	for _, row := range rows {
		require.NotContains(p.t, bills, row.Request, "an attempt was billed twice")
		bills[row.Request] = entry{string(row.Provider), row.Model, row.Usage, row.Billed}
	}
	return bills
}

// inLedger are the attempts that the ledger holds to be paid for.
func (p *platform) inLedger() map[string]entry {
	p.t.Helper()
	rows, err := p.gateway.Database.Pool.Query(p.t.Context(), `
SELECT request || '.' || number, provider, model, cost, input, cache_read, cache_write, cache_write_1h, output, reasoning
FROM llm_attempts
WHERE state = 'settled'`)
	require.NoError(p.t, err)
	defer rows.Close()
	booked := map[string]entry{}
	for rows.Next() {
		var id string
		var e entry
		u := &e.Usage
		require.NoError(p.t, rows.Scan(&id, &e.Provider, &e.Model, &e.Cost, &u.Input, &u.CacheRead, &u.CacheWrite, &u.CacheWrite1h, &u.Output, &u.Reasoning))
		booked[id] = e
	}
	require.NoError(p.t, rows.Err())
	return booked
}

// attempts counts the ledger's by their states.
func (p *platform) attempts() map[string]int {
	p.t.Helper()
	rows, err := p.gateway.Database.Pool.Query(p.t.Context(), `SELECT state, count(*) FROM llm_attempts GROUP BY state`)
	require.NoError(p.t, err)
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var state string
		var n int
		require.NoError(p.t, rows.Scan(&state, &n))
		counts[state] = n
	}
	require.NoError(p.t, rows.Err())
	return counts
}

// balance waits until nothing is open and then compares the ledger with the invoice:
// attempt by attempt, token by token, and in all.
func (p *platform) balance() {
	p.t.Helper()
	settled := p.settled()
	bills, booked := p.onInvoice(), p.inLedger()
	require.Empty(p.t, cmp.Diff(bills, booked), "− is the invoice, + the ledger")
	require.Equal(p.t, p.invoiced(), settled, "the budgets say something else than the attempts")
	counts := p.attempts()
	require.Zero(p.t, counts["dispatched"]+counts["unknown"], "something is open that no budget knows of: %v", counts)
	var overrun int64
	require.NoError(p.t, p.gateway.Database.Pool.QueryRow(p.t.Context(), `SELECT coalesce(sum(overrun), 0) FROM llm_budgets`).Scan(&overrun))
	require.Zero(p.t, overrun, "something cost more than was reserved for it")
}

// everyModel are routes to the sandbox's models by all its providers.
const everyModel = providers + `
routes:
  - {name: small, models: [sandbox-small], chain: [{provider: openai}, {provider: compatible}]}
  - {name: large, models: [sandbox-large], chain: [{provider: anthropic}]}
  - {name: reasoning, models: [sandbox-reasoning], chain: [{provider: openai}]}
  - {name: thinking, models: [claude-sandbox], chain: [{provider: anthropic, model: sandbox-reasoning}]}
budgets:
  - {name: monthly, period: month, limit_usd: "1000"}
`

const asJSON = `"stream":false`

// eachKeyTwice is how a request is sent so that the providers' caches have seen it:
// they are for each key, and the gateway takes its keys in turns.
var eachKeyTwice = []string{asJSON, asJSON, asStream, asStream}

func TestAnAnswerIsPaidForToTheNanoDollar(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	long := strings.Repeat("what was said before is said again ", 20)
	tools := map[string]string{
		openAI:    `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`,
		anthropic: `"tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}]`,
	}
	for _, row := range []struct {
		name, path, model, prompt string
		options                   []string
		saw                       func(sandbox.Usage) int64 // what the row is there for
	}{
		{"an answer", openAI, "sandbox-small", "say something", nil, func(u sandbox.Usage) int64 { return u.Output }},
		{"an answer", anthropic, "sandbox-large", "say something", nil, func(u sandbox.Usage) int64 { return u.Output }},
		{"what was cached by itself", openAI, "sandbox-small", long, nil, func(u sandbox.Usage) int64 { return u.CacheRead }},
		{"a call of a tool", openAI, "sandbox-small", "[[call weather]]", []string{tools[openAI]}, func(u sandbox.Usage) int64 { return u.Output }},
		{"a call of a tool", anthropic, "sandbox-large", "[[call weather]]", []string{tools[anthropic]}, func(u sandbox.Usage) int64 { return u.Output }},
		{"reasoning", openAI, "sandbox-reasoning", "think", nil, func(u sandbox.Usage) int64 { return u.Reasoning }},
		{"thinking", anthropic, "claude-sandbox", "think", nil, func(u sandbox.Usage) int64 { return u.Reasoning }},
	} {
		t.Run(row.name+strings.ReplaceAll(row.path, "/", " "), func(t *testing.T) {
			before := p.onInvoice()
			for _, how := range eachKeyTwice {
				a := asked(t, p.gateway.HTTPURL, row.path, said(row.path, row.model, row.prompt, append(row.options, how)...))
				require.Equal(t, http.StatusOK, a.status, a.body)
			}
			p.balance()
			var saw, rows int64
			for id, e := range p.onInvoice() {
				if _, old := before[id]; !old {
					saw += row.saw(e.Usage)
					rows++
				}
			}
			require.Equal(t, int64(len(eachKeyTwice)), rows)
			require.Positive(t, saw, "the sandbox billed nothing of what this is about")
		})
	}
	t.Run("what a client marks for the cache", func(t *testing.T) {
		marked := func(ttl, how string) string {
			text, err := json.Marshal(long + ttl)
			require.NoError(t, err)
			return fmt.Sprintf(`{"model":"sandbox-large","max_tokens":100,%s,"system":[{"type":"text","text":%s,"cache_control":{"type":"ephemeral","ttl":%q}}],"messages":[{"role":"user","content":"go on"}]}`,
				how, text, ttl)
		}
		var sum sandbox.Usage
		before := p.onInvoice()
		for _, ttl := range []string{"5m", "1h"} {
			for _, how := range eachKeyTwice {
				a := asked(t, p.gateway.HTTPURL, anthropic, marked(ttl, how))
				require.Equal(t, http.StatusOK, a.status, a.body)
			}
		}
		p.balance()
		for id, e := range p.onInvoice() {
			if _, old := before[id]; !old {
				sum.CacheRead, sum.CacheWrite, sum.CacheWrite1h = sum.CacheRead+e.Usage.CacheRead, sum.CacheWrite+e.Usage.CacheWrite, sum.CacheWrite1h+e.Usage.CacheWrite1h
			}
		}
		require.Positive(t, sum.CacheWrite)
		require.Positive(t, sum.CacheWrite1h)
		require.Positive(t, sum.CacheRead)
	})
}
