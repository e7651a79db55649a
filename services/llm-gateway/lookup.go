package llmgateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// lookups ask providers what became of requests that nobody knows the end of. Those
// of OpenAI and Anthropic have no way to ask, so what is unknown there stays unknown
// until a person resolves it; the sandbox has one, which a provider in the file of
// routes names with `lookup`.
type lookups struct {
	routes *routes.Source
	prices *price.Source
	client *http.Client
}

// invoiced is a provider's answer: what it billed for a request.
type invoiced struct {
	State string `json:"state"` // running, or how it ended
	ID    string `json:"id"`
	Usage struct {
		Input        int64 `json:"input"`
		CacheRead    int64 `json:"cache_read"`
		CacheWrite   int64 `json:"cache_write"`
		CacheWrite1h int64 `json:"cache_write_1h"`
		Output       int64 `json:"output"`
		Reasoning    int64 `json:"reasoning"`
	} `json:"usage"`
}

// largestInvoice is more than one says, in bytes.
const largestInvoice = 64 << 10

// find is a [ledger.Lookup].
func (l *lookups) find(ctx context.Context, a ledger.Open) (ledger.Finding, error) {
	provider, ok := l.routes.Current().Providers[a.Provider]
	if !ok || provider.Lookup == "" {
		return ledger.Finding{Verdict: ledger.NobodyKnows}, nil
	}
	rates, ok := l.prices.Current().Lookup(a.Provider, a.Model, a.CreateTime)
	if !ok {
		return ledger.Finding{}, fmt.Errorf("there is no price for %s of %s any more", a.Model, a.Provider)
	}
	found, known, err := l.ask(ctx, strings.ReplaceAll(provider.Lookup, "{id}", url.PathEscape(a.ID.String())))
	switch {
	case err != nil:
		return ledger.Finding{}, err
	case !known:
		return ledger.Finding{Verdict: ledger.NeverHappened}, nil
	case found.State == "running":
		return ledger.Finding{Verdict: ledger.NotYet}, nil
	}
	used := wire.Usage(found.Usage)
	return ledger.Finding{Verdict: ledger.Found, Outcome: ledger.Outcome{
		State: ledger.Settled, Usage: ledger.Usage(used), Cost: rates.Cost(used), Exact: true, UpstreamID: found.ID, Finish: found.State,
	}}, nil
}

// ask asks one URL; known is false where the provider never saw the request.
func (l *lookups) ask(ctx context.Context, at string) (found invoiced, known bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return found, false, err
	}
	response, err := l.client.Do(request)
	if err != nil {
		return found, false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		if err := json.NewDecoder(io.LimitReader(response.Body, largestInvoice)).Decode(&found); err != nil {
			return found, false, fmt.Errorf("reading what became of a request: %w", err)
		}
		return found, true, nil
	case http.StatusNotFound:
		return found, false, nil
	default:
		return found, false, fmt.Errorf("asking what became of a request: status %d", response.StatusCode)
	}
}
