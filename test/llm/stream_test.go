package llm

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// protocols are both, with a model of each and how a stream ends.
var protocols = []struct{ name, path, model, end string }{
	{"openai", openAI, "sandbox-small", "data: [DONE]\n\n"},
	{"anthropic", anthropic, "sandbox-large", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
}

func TestAStreamComesAsItIsWritten(t *testing.T) {
	p := start(t, "")
	for _, protocol := range protocols {
		p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultStall, Chunks: 3, Delay: sandbox.Duration(time.Minute)}})
		ctx, leave := context.WithCancel(t.Context())
		response, err := post(t, ctx, p.gateway.HTTPURL, protocol.path, said(protocol.path, protocol.model, "go on", asStream))
		require.NoError(t, err)
		require.Equal(t, "text/event-stream; charset=utf-8", response.Header.Get("Content-Type"))
		lines := bufio.NewReader(response.Body)
		for words := 0; words < 3; {
			line, err := lines.ReadString('\n')
			require.NoError(t, err, "the provider stalls after three words, and they did not come")
			if strings.Contains(line, `"content":" `) || strings.Contains(line, `"text_delta"`) || strings.Contains(line, `"delta":{"content"`) {
				words++
			}
		}
		leave()
		response.Body.Close()
	}
	p.settled()
}

// TestNothingIsLostBeforeTheFirstContent: whatever goes wrong until then, the next
// in the chain answers as if it had been asked first.
func TestNothingIsLostBeforeTheFirstContent(t *testing.T) {
	p := start(t, providers+`
routes:
  - name: both
    models: [sandbox-small]
    chain: [{provider: openai, keys: [a]}, {provider: compatible}]
    timeouts: {connect: 500ms, first_token: 1s}
    attempts: 6
`)
	body := said(openAI, "sandbox-small", "say something", asStream)
	for name, fault := range map[string]sandbox.Fault{
		"overloaded":    {Kind: sandbox.FaultStatus, Status: 503},
		"early error":   {Kind: sandbox.FaultError},
		"cut":           {Kind: sandbox.FaultCut, Bytes: 100},
		"silent":        {Kind: sandbox.FaultFirstToken, Delay: sandbox.Duration(time.Minute)},
		"dropped":       {Kind: sandbox.FaultDrop},
		"ends politely": {Kind: sandbox.FaultCut, Bytes: 200, End: sandbox.EndClean},
	} {
		t.Run(name, func(t *testing.T) {
			p.script(sandbox.Rule{Fault: fault, Provider: sandbox.OpenAI})
			a := asked(t, p.gateway.HTTPURL, openAI, body)
			require.Equal(t, http.StatusOK, a.status, a.body)
			require.True(t, strings.HasSuffix(a.body, "data: [DONE]\n\n"), a.body)
			require.NotContains(t, a.body, `"error"`)
			require.Contains(t, a.header.Get("Holdfast-Path"), "compatible/sandbox-small")
			require.Equal(t, 1, strings.Count(a.body, `"finish_reason":"stop"`), a.body)
		})
	}
}

// TestAStreamThatBreaksOffSaysSo: an answer that was cut is never passed off as a
// whole one, at whichever byte the provider breaks off.
func TestAStreamThatBreaksOffSaysSo(t *testing.T) {
	p := start(t, "")
	p.forceBreakers()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			body := said(protocol.path, protocol.model, "say something [[tokens 4]]", asStream)
			p.script()
			whole := asked(t, p.gateway.HTTPURL, protocol.path, body)
			require.True(t, strings.HasSuffix(whole.body, protocol.end), whole.body)
			for at := int64(0); at < 2000; at += 37 { // each byte is for package dispatch
				p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultCut, Bytes: at, End: ends[at%int64(len(ends))]}, Times: 1})
				a := asked(t, p.gateway.HTTPURL, protocol.path, body)
				require.Equal(t, http.StatusOK, a.status, a.body)
				if strings.HasSuffix(a.body, protocol.end) {
					require.NotContains(t, a.body, "generation_interrupted")
					continue // it was whole, or another attempt was
				}
				require.Contains(t, a.body, "generation_interrupted", "cut at byte %d", at)
				require.NotContains(t, a.body, protocol.end)
			}
		})
	}
	p.settled()
}

// TestWithoutAGatewayACutStreamSaysNothing is the control: the same cuts, of the
// provider itself.
func TestWithoutAGatewayACutStreamSaysNothing(t *testing.T) {
	p := start(t, "")
	silent := 0
	for at := int64(100); at < 400; at += 37 {
		p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultCut, Bytes: at, End: sandbox.EndClean}})
		a := asked(t, p.at+"/llm/openai", openAI, said(openAI, "sandbox-small", "say something [[tokens 4]]", asStream),
			"Authorization", "Bearer sandbox-key")
		require.Equal(t, http.StatusOK, a.status)
		if !strings.HasSuffix(a.body, protocols[0].end) && !strings.Contains(a.body, "interrupted") {
			silent++
		}
	}
	require.NotZero(t, silent, "the provider says itself that it broke off")
}

var ends = []sandbox.End{sandbox.EndFIN, sandbox.EndReset, sandbox.EndClean}

func TestAClientThatLeavesEndsTheBill(t *testing.T) {
	p := start(t, "")
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(50 * time.Millisecond)}})
	for _, protocol := range protocols {
		ctx, leave := context.WithCancel(t.Context())
		response, err := post(t, ctx, p.gateway.HTTPURL, protocol.path, said(protocol.path, protocol.model, "write on [[tokens 2000]]", asStream))
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, response.Body, 300)
		require.NoError(t, err)
		leave()
		response.Body.Close()
	}
	require.Eventually(t, func() bool {
		rows, _, err := p.providers.Invoice().Rows(sandbox.Selection{})
		require.NoError(t, err)
		for _, row := range rows {
			if row.State != sandbox.StateCancelled {
				return false
			}
			require.Less(t, row.Usage.Output, int64(1000), "the provider went on writing for nobody")
		}
		return len(rows) == 2
	}, 20*time.Second, 20*time.Millisecond, "the provider was not told")
	require.Equal(t, p.settled(), p.invoiced())
}

// TestARouteMayReadOnForWhoLeft: the answer is there for the same key.
func TestARouteMayReadOnForWhoLeft(t *testing.T) {
	p := start(t, providers+`
routes:
  - {name: patient, models: [sandbox-small], chain: [{provider: openai}], disconnect: detach}
`)
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(10 * time.Millisecond)}})
	body, key := said(openAI, "sandbox-small", "write on [[tokens 100]]", asStream), []string{"Idempotency-Key", "come-back"}
	ctx, leave := context.WithCancel(t.Context())
	response, err := post(t, ctx, p.gateway.HTTPURL, openAI, body, key...)
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, response.Body, 300)
	require.NoError(t, err)
	leave()
	response.Body.Close()
	var again answer
	require.Eventually(t, func() bool {
		again = p.ask(openAI, body, key...)
		return again.status == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond, "it was not read on")
	require.True(t, strings.HasSuffix(again.body, "data: [DONE]\n\n"), again.body)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	rows, _, err := p.providers.Invoice().Rows(sandbox.Selection{})
	require.NoError(t, err)
	require.Len(t, rows, 1)
}

// TestASilentStreamIsKeptAlive once there is content, and only between events.
func TestASilentStreamIsKeptAlive(t *testing.T) {
	p := start(t, "", "HOLDFAST_LLM_KEEPALIVE", "100ms")
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultStall, Chunks: 2, Delay: sandbox.Duration(2 * time.Second)}})
			a := asked(t, p.gateway.HTTPURL, protocol.path, said(protocol.path, protocol.model, "say something", asStream))
			require.True(t, strings.HasSuffix(a.body, protocol.end), a.body)
			ping := map[string]string{"openai": "\n\n: ", "anthropic": "event: ping\ndata: {\"type\": \"ping\"}\n\n"}[protocol.name]
			require.Greater(t, strings.Count(a.body, ping), 2, a.body)
		})
	}
	t.Run("not before", func(t *testing.T) {
		p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultDelay, Delay: sandbox.Duration(time.Second)}})
		a := asked(t, p.gateway.HTTPURL, openAI, said(openAI, "sandbox-small", "say something", asStream))
		first, _, _ := strings.Cut(a.body, "\n")
		require.Contains(t, first, `"role":"assistant"`)
	})
}

// TestTheUsageThatWeAskForIsNotTheClients: OpenAI's clients get it who ask.
func TestTheUsageThatWeAskForIsNotTheClients(t *testing.T) {
	p := start(t, "")
	without := p.ask(openAI, said(openAI, "sandbox-small", "say something", asStream))
	require.NotContains(t, without.body, `"prompt_tokens"`)
	with := p.ask(openAI, said(openAI, "sandbox-small", "say something", asStream, `"stream_options":{"include_usage":true}`))
	require.Contains(t, with.body, `"prompt_tokens"`)
	require.Equal(t, p.invoiced(), p.settled())
}
