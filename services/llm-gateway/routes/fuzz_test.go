package routes

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse holds whatever is in a file to what users of a table rely on.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/mistakes.yaml", "../builtin/routes.yaml"} {
		if seed, err := os.ReadFile(file); err == nil {
			f.Add(seed)
		}
	}
	f.Add([]byte("providers: {a: {protocol: openai, base_url: http://a, keys: [{name: k, secret: sandbox:k}]}}\nroutes: [{name: r, models: [m, n], chain: [{provider: a}]}]\n"))
	f.Add([]byte("providers: &a {b: *a}\nroutes: [*a]"))
	env := func(name string) string {
		if strings.Contains(name, "NOT") {
			return ""
		}
		return "http://value-of-" + strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	}
	none := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parse("f.yaml", data, env, none)
		if err != nil {
			var mistake *Mistake
			require.True(t, errors.As(err, &mistake), "%v", err)
			require.Equal(t, "f.yaml", mistake.File)
			require.NotContains(t, err.Error(), "value-of")
			return
		}
		require.NotEmpty(t, table.Routes)
		for _, route := range table.Routes {
			require.NotEmpty(t, route.Chain)
			require.NotEmpty(t, route.Models)
			require.NotEmpty(t, route.Tenants)
			require.Positive(t, route.Attempts)
			require.Positive(t, route.MaxTokens)
			require.GreaterOrEqual(t, route.MaxTokensCap, route.MaxTokens)
			timeouts := route.Timeouts
			require.Less(t, timeouts.Connect, timeouts.FirstToken)
			require.Less(t, timeouts.FirstToken, timeouts.Total)
			require.Less(t, timeouts.Idle, timeouts.Total)
			require.Positive(t, min(timeouts.Connect, timeouts.Idle))
			require.Equal(t, route.Disconnect == Drain, route.DrainBound > 0)
			for _, link := range route.Chain {
				require.NotEmpty(t, link.Model)
				require.NotEmpty(t, link.Keys)
				require.Same(t, table.Providers[link.Provider.Name], link.Provider)
				require.NotZero(t, link.Provider.Protocol)
				require.NotEmpty(t, link.Provider.BaseURL)
				for _, key := range link.Keys {
					require.NotEmpty(t, key.Secret.Reveal())
				}
			}
			for _, tenant := range route.Tenants {
				for _, model := range route.Models {
					found, ok := table.Route(tenant, model)
					require.True(t, ok)
					require.Same(t, route, found)
				}
			}
		}
		for _, budget := range table.Budgets {
			require.Positive(t, budget.Limit)
		}
	})
}
