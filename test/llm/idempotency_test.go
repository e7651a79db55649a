package llm

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// keyed is the header of an idempotency key.
func keyed(key string) []string { return []string{"Idempotency-Key", key} }

// TestARepeatIsAnsweredAndNotBilled: the same bytes, on any replica, and one bill.
func TestARepeatIsAnsweredAndNotBilled(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	other := p.another()
	for _, protocol := range protocols {
		for _, how := range []string{asStream, asJSON} {
			t.Run(protocol.name+" "+how, func(t *testing.T) {
				before := len(p.onInvoice())
				body := said(protocol.path, protocol.model, "say something [[tokens 30]]", how)
				key := keyed("repeat-" + protocol.name + how)
				first := asked(t, p.gateway.HTTPURL, protocol.path, body, key...)
				require.Equal(t, http.StatusOK, first.status, first.body)
				require.Empty(t, first.header.Get("Idempotent-Replayed"))
				for _, at := range []string{p.gateway.HTTPURL, other.HTTPURL} {
					again := asked(t, at, protocol.path, body, key...)
					require.Equal(t, http.StatusOK, again.status, again.body)
					require.Equal(t, first.body, again.body)
					require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
					require.Equal(t, first.header.Get("Content-Type"), again.header.Get("Content-Type"))
					require.Equal(t, first.header.Get("Holdfast-Request"), again.header.Get("Holdfast-Request"))
				}
				require.Len(t, p.onInvoice(), before+1)
			})
		}
	}
	p.balance()
}

// TestWithoutAKeyARepeatIsBilledAgain is the control.
func TestWithoutAKeyARepeatIsBilledAgain(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	body := said(openAI, "sandbox-small", "say something")
	for range 2 {
		require.Equal(t, http.StatusOK, p.ask(openAI, body).status)
	}
	require.Len(t, p.onInvoice(), 2)
}

func TestAKeyIsOfOneTenant(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	body, key := said(openAI, "sandbox-small", "say something"), keyed("shared")
	require.Equal(t, http.StatusOK, p.ask(openAI, body, key...).status)
	a := p.ask(openAI, said(openAI, "sandbox-small", "say something else"), append(key, "Authorization", "Bearer "+otherTenant)...)
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Empty(t, a.header.Get("Idempotent-Replayed"))
	require.Len(t, p.onInvoice(), 2)
}

// TestAKeyThatCannotBeUsedSaysWhy, in the shape of errors of each protocol.
func TestAKeyThatCannotBeUsedSaysWhy(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	other := p.another()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			p.script()
			body := said(protocol.path, protocol.model, "say something", asStream)
			refused := func(at, body, key string, status int, code, again string) answer {
				t.Helper()
				a := asked(t, at, protocol.path, body, keyed(key)...)
				require.Equal(t, status, a.status, a.body)
				require.Equal(t, code, a.problem(t).Error.Code, a.body)
				require.Equal(t, again, a.header.Get("X-Should-Retry"))
				return a
			}
			used := "used-" + protocol.name
			require.Equal(t, http.StatusOK, asked(t, p.gateway.HTTPURL, protocol.path, body, keyed(used)...).status)
			refused(other.HTTPURL, said(protocol.path, protocol.model, "say something else", asStream), used, http.StatusUnprocessableEntity, "key_reused", "false")
			refused(p.gateway.HTTPURL, said(protocol.path, protocol.model, "say something", asJSON), used, http.StatusUnprocessableEntity, "key_reused", "false")
			refused(p.gateway.HTTPURL, body, "two words", http.StatusBadRequest, "key_malformed", "false")
			refused(p.gateway.HTTPURL, body, strings.Repeat("k", 256), http.StatusBadRequest, "key_malformed", "false")

			p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultStall, Chunks: 2, Delay: sandbox.Duration(time.Minute)}})
			ctx, leave := context.WithCancel(t.Context())
			busy := "busy-" + protocol.name
			response, err := post(t, ctx, p.gateway.HTTPURL, protocol.path, body, keyed(busy)...)
			require.NoError(t, err)
			for _, at := range []string{p.gateway.HTTPURL, other.HTTPURL} {
				require.NotEmpty(t, refused(at, body, busy, http.StatusConflict, "key_in_flight", "true").header.Get("Retry-After"))
			}
			leave()
			response.Body.Close()
		})
	}
	p.balance()
}

// TestWhoLeftIsToldThatTheAnswerWasCut, and it is billed once: what was generated for
// nobody is gone, and is not generated again behind the client's back.
func TestWhoLeftIsToldThatTheAnswerWasCut(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	other := p.another()
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(20 * time.Millisecond)}})
	for _, protocol := range protocols {
		body := said(protocol.path, protocol.model, "write on [[tokens 900]]", asStream)
		ctx, leave := context.WithCancel(t.Context())
		response, err := post(t, ctx, p.gateway.HTTPURL, protocol.path, body, keyed("left-"+protocol.name)...)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, response.Body, 300)
		require.NoError(t, err)
		leave()
		response.Body.Close()
		for _, at := range []string{p.gateway.HTTPURL, other.HTTPURL} {
			a := p.decided(at, protocol.path, body, "left-"+protocol.name)
			require.Equal(t, http.StatusBadGateway, a.status, a.body)
			require.Equal(t, "generation_interrupted", a.problem(t).Error.Code)
			require.Equal(t, "false", a.header.Get("X-Should-Retry"), "an SDK would ask for ever")
		}
	}
	require.Len(t, p.onInvoice(), len(protocols))
	p.balance()
}

// decided asks with a key until its request is not under way any more.
func (p *platform) decided(at, path, body, key string) (a answer) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		a = asked(p.t, at, path, body, keyed(key)...)
		return a.status != http.StatusConflict
	}, 30*time.Second, 50*time.Millisecond, "the key stays in flight")
	return a
}

// TestAKeyThatCostNothingIsFreeAgain: what failed without a bill runs anew, on any
// replica, and what comes of it is the key's answer.
func TestAKeyThatCostNothingIsFreeAgain(t *testing.T) {
	t.Parallel()
	p := start(t, providers+`
routes:
  - {name: small, models: [sandbox-small], chain: [{provider: openai}], attempts: 1}
  - {name: large, models: [sandbox-large], chain: [{provider: anthropic}], attempts: 1}
budgets:
  - {name: monthly, period: month, limit_usd: "1000"}
`)
	other := p.another()
	faults := []string{
		"status; status=503",
		"drop", // nobody knows until the provider is asked
	}
	t.Run("each", func(t *testing.T) {
		for _, protocol := range protocols {
			for i, fault := range faults {
				t.Run(protocol.name+" "+fault, func(t *testing.T) {
					t.Parallel()
					body := said(protocol.path, protocol.model, "say something [[fault "+fault+"; sends=1]]", asJSON)
					key := fmt.Sprint("free-", protocol.name, i)
					a := asked(t, p.gateway.HTTPURL, protocol.path, body, keyed(key)...)
					require.Equal(t, http.StatusServiceUnavailable, a.status, a.body)
					a = p.decided(other.HTTPURL, protocol.path, body, key)
					require.Equal(t, http.StatusOK, a.status, a.body)
					require.Empty(t, a.header.Get("Idempotent-Replayed"))
					again := asked(t, p.gateway.HTTPURL, protocol.path, body, keyed(key)...)
					require.Equal(t, a.body, again.body)
					require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
				})
			}
		}
	})
	require.Len(t, p.onInvoice(), len(protocols)*len(faults))
	p.balance()
}

// reasonOf is why a call by gRPC failed; empty if it did not.
func reasonOf(err error) apierror.Reason {
	if err == nil {
		return ""
	}
	return apierror.From(err).Reason()
}

// TestARepeatByGRPC is the same as by HTTP.
func TestARepeatByGRPC(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	here := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey))
	there := llmv1.NewLLMGatewayServiceClient(p.another().As(auth.DevelopmentKey))
	with := func(key string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), idempotency.KeyMetadata, key)
	}
	replayed := func(trailer metadata.MD) bool { return len(trailer.Get(idempotency.ReplayedTrailer)) > 0 }
	for _, model := range []string{"sandbox-small", "sandbox-large"} {
		before := len(p.onInvoice())
		whole := &llmv1.GenerateRequest{Prompt: prompted(model, "say something")}
		var trailer metadata.MD
		first, err := here.Generate(with(model), whole, grpc.Trailer(&trailer))
		require.NoError(t, err)
		require.False(t, replayed(trailer))
		again, err := there.Generate(with(model), whole, grpc.Trailer(&trailer))
		require.NoError(t, err)
		require.True(t, replayed(trailer))
		require.Empty(t, cmp.Diff(first, again, protocmp.Transform()))

		streamed := &llmv1.StreamGenerateRequest{Prompt: prompted(model, "say something")}
		pieces, err := received(here.StreamGenerate(with(model+"-stream"), streamed))
		require.NoError(t, err)
		require.Greater(t, len(pieces), 2)
		require.NotNil(t, pieces[len(pieces)-1].GetDone())
		stream, err := there.StreamGenerate(with(model+"-stream"), streamed)
		repeated, err := received(stream, err)
		require.NoError(t, err)
		require.True(t, replayed(stream.Trailer()))
		require.Empty(t, cmp.Diff(pieces, repeated, protocmp.Transform()))
		require.Len(t, p.onInvoice(), before+2)

		for key, reason := range map[string]apierror.Reason{model: apierror.ReasonKeyReused, strings.Repeat("k", 256): apierror.ReasonKeyMalformed} {
			_, err = here.Generate(with(key), &llmv1.GenerateRequest{Prompt: prompted(model, "say something else")})
			require.Equal(t, reason, reasonOf(err), err)
		}
	}
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultStall, Chunks: 2, Delay: sandbox.Duration(time.Minute)}})
	ctx, leave := context.WithCancel(with("busy"))
	request := &llmv1.StreamGenerateRequest{Prompt: prompted("sandbox-small", "say something")}
	stream, err := here.StreamGenerate(ctx, request)
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = received(there.StreamGenerate(with("busy"), request))
	require.Equal(t, apierror.ReasonKeyInFlight, reasonOf(err), err)
	require.Positive(t, apierror.From(err).RetryAfter())
	leave()
	require.Eventually(t, func() bool {
		_, err = received(there.StreamGenerate(with("busy"), request))
		return reasonOf(err) != apierror.ReasonKeyInFlight
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, apierror.ReasonGenerationInterrupted, reasonOf(err), err)
	p.balance()
}
