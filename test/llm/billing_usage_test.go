package llm

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
)

// byJSON calls a method of the gRPC API by way of its JSON.
func (p *platform) byJSON(method, path, body, token string, into proto.Message) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.gateway.HTTPURL+path, strings.NewReader(body))
	require.NoError(p.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, response.StatusCode, "%s", read)
	require.NoError(p.t, protojson.Unmarshal(read, into), "%s", read)
}

// TestATenantIsToldWhatItUsed, by gRPC and by JSON alike, and nothing of others.
func TestATenantIsToldWhatItUsed(t *testing.T) {
	t.Parallel()
	p, began := start(t, everyModel), time.Now().UTC()
	client := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey))
	for _, protocol := range protocols {
		require.Equal(t, http.StatusOK, p.ask(protocol.path, said(protocol.path, protocol.model, "say something", asStream)).status)
	}
	answer, err := client.Generate(t.Context(), &llmv1.GenerateRequest{Prompt: prompted("sandbox-reasoning", "think")})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, p.ask(openAI, said(openAI, "sandbox-small", "say something else"), "Authorization", "Bearer "+otherTenant).status)
	p.balance()

	bills := p.onInvoice()
	require.Equal(t, bills[answer.GetId()+".1"].Cost, answer.GetUsage().GetCostNanodollars(), "who asked is told what it cost")
	usage, err := client.GetUsage(t.Context(), &llmv1.GetUsageRequest{})
	require.NoError(t, err)
	others := &llmv1.GetUsageResponse{}
	p.byJSON(http.MethodGet, "/v1/llm/usage", "", otherTenant, others)

	var sum int64
	models := map[string]*llmv1.UsageRow{}
	for _, row := range usage.GetRows() {
		require.Contains(t, []string{began.Format(time.DateOnly), time.Now().UTC().Format(time.DateOnly)}, row.GetDay())
		models[row.GetModel()] = row
		sum += row.GetUsage().GetCostNanodollars()
	}
	require.Len(t, models, 3)
	require.Equal(t, int64(1), models["sandbox-small"].GetRequests())
	require.Equal(t, "large", models["sandbox-large"].GetRoute())
	require.Equal(t, answer.GetUsage().GetReasoningTokens(), models["sandbox-reasoning"].GetUsage().GetReasoningTokens())
	require.Positive(t, models["sandbox-reasoning"].GetUsage().GetReasoningTokens())
	require.Len(t, usage.GetBudgets(), 1)
	budget := usage.GetBudgets()[0]
	require.Equal(t, "monthly", budget.GetName())
	require.Equal(t, int64(1000_000_000_000), budget.GetLimitNanodollars())
	require.Equal(t, sum, budget.GetSettledNanodollars())
	require.Zero(t, budget.GetReservedNanodollars())
	require.True(t, budget.GetReset_().AsTime().After(time.Now()))

	require.Len(t, others.GetRows(), 1)
	require.Equal(t, p.invoiced(), sum+others.GetRows()[0].GetUsage().GetCostNanodollars())

	same := &llmv1.GetUsageResponse{}
	p.byJSON(http.MethodGet, "/v1/llm/usage", "", auth.DevelopmentKey, same)
	require.True(t, proto.Equal(usage, same), "%v\n%v", usage, same)
	yesterday := &llmv1.GetUsageResponse{}
	p.byJSON(http.MethodGet, "/v1/llm/usage?until="+time.Now().UTC().Add(-24*time.Hour).Format(time.RFC3339), "", auth.DevelopmentKey, yesterday)
	require.Empty(t, yesterday.GetRows())
}

// TestModelsAreThoseOfTheTenant, in all three protocols.
func TestModelsAreThoseOfTheTenant(t *testing.T) {
	t.Parallel()
	p := start(t, strings.Replace(everyModel, "{name: reasoning, models", "{name: reasoning, tenants: [globex], models", 1))
	list := func(token string) (names []string) {
		byJSON := &llmv1.ListModelsResponse{}
		p.byJSON(http.MethodGet, "/v1/llm/models", "", token, byJSON)
		byGRPC, err := llmv1.NewLLMGatewayServiceClient(p.gateway.As(token)).ListModels(t.Context(), &llmv1.ListModelsRequest{})
		require.NoError(t, err)
		require.True(t, proto.Equal(byGRPC, byJSON), "%v\n%v", byGRPC, byJSON)
		for _, m := range byGRPC.GetModels() {
			names = append(names, m.GetName())
		}
		return names
	}
	require.Equal(t, []string{"claude-sandbox", "sandbox-large", "sandbox-small"}, list(auth.DevelopmentKey))
	require.Equal(t, []string{"claude-sandbox", "sandbox-large", "sandbox-reasoning", "sandbox-small"}, list(otherTenant))
	_, err := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey)).Generate(t.Context(), &llmv1.GenerateRequest{Prompt: prompted("sandbox-reasoning", "?")})
	require.Equal(t, apierror.ReasonNotFound, reasonOf(err))
	for _, version := range []string{"", "2023-06-01"} { // OpenAI's protocol, and Anthropic's
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.gateway.HTTPURL+"/v1/models", http.NoBody)
		require.NoError(t, err)
		request.Header.Set("X-Api-Key", auth.DevelopmentKey)
		if version != "" {
			request.Header.Set("Anthropic-Version", version)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
		require.Equal(t, 1, strings.Count(string(body), `"id":"sandbox-small"`), "%s", body)
		require.NotContains(t, string(body), "sandbox-reasoning")
	}
}

// TestTokensAreCountedWhereAProviderCounts, and bounded where it does not. Neither
// costs anything.
func TestTokensAreCountedWhereAProviderCounts(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	client := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey))
	const text = "count what this has of tokens"
	exact, err := client.CountTokens(t.Context(), &llmv1.CountTokensRequest{Prompt: prompted("sandbox-large", text)})
	require.NoError(t, err)
	require.False(t, exact.GetUpperBound())
	bound, err := client.CountTokens(t.Context(), &llmv1.CountTokensRequest{Prompt: prompted("sandbox-small", text)})
	require.NoError(t, err)
	require.True(t, bound.GetUpperBound())
	require.Greater(t, bound.GetInputTokens(), exact.GetInputTokens())

	byJSON := &llmv1.CountTokensResponse{}
	p.byJSON(http.MethodPost, "/v1/llm:countTokens", `{"prompt":{"model":"sandbox-large","messages":[{"role":"ROLE_USER","parts":[{"text":"`+text+`"}]}]}}`, auth.DevelopmentKey, byJSON)
	require.True(t, proto.Equal(exact, byJSON), "%v\n%v", exact, byJSON)
	a := p.ask(anthropic+"/count_tokens", said(anthropic, "sandbox-large", text))
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Contains(t, a.body, "input_tokens")
	require.Empty(t, p.onInvoice())
	require.Empty(t, p.attempts())

	answer, err := client.Generate(t.Context(), &llmv1.GenerateRequest{Prompt: prompted("sandbox-large", text)})
	require.NoError(t, err)
	require.Equal(t, exact.GetInputTokens(), answer.GetUsage().GetInputTokens(), "what was counted is what is billed")
}
