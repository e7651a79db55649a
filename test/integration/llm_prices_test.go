package integration

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/builtin"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// TestTheGatewayBooksWhatTheSandboxBills compares two lists that are kept apart on
// purpose: books and invoice agree only if both are right.
func TestTheGatewayBooksWhatTheSandboxBills(t *testing.T) {
	invoice, err := llm.OpenInvoice(filepath.Join(t.TempDir(), "llm.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, invoice.Close()) })
	handler, err := llm.NewHandler(invoice, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	sandbox := httptest.NewServer(handler)
	t.Cleanup(sandbox.Close)

	response, err := http.Get(sandbox.URL + "/llm/prices")
	require.NoError(t, err)
	defer response.Body.Close()
	var billed struct {
		Models []struct {
			Name      string
			Providers []string
			Price     struct {
				Input        int64 `json:"input"`
				CacheRead    int64 `json:"cache_read"`
				CacheWrite   int64 `json:"cache_write"`
				CacheWrite1h int64 `json:"cache_write_1h"`
				Output       int64 `json:"output"`
				Reasoning    int64 `json:"reasoning"`
			}
		}
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&billed))
	require.NotEmpty(t, billed.Models)

	booked := builtin.Prices().Current()
	for _, model := range billed.Models {
		require.NotEmpty(t, model.Providers, model.Name)
		for _, provider := range model.Providers {
			ours, ok := booked.Lookup("sandbox-"+provider, model.Name, time.Now())
			require.True(t, ok, "%s of %s has no price", model.Name, provider)
			require.Equal(t, price.Rates(model.Price), ours.Rates, "%s of %s", model.Name, provider)
			require.Zero(t, ours.LongPrompt, "the sandbox makes no difference")
		}
	}

	table, err := builtin.Routes(func(name string) string {
		return map[string]string{"HOLDFAST_SANDBOX_URL": sandbox.URL}[name]
	})
	require.NoError(t, err)
	for _, model := range billed.Models {
		_, ok := table.Current().Route("acme", model.Name)
		require.True(t, ok, "no route leads to %s", model.Name)
	}
}
