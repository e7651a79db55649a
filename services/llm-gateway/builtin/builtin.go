// Package builtin has the routes and the prices that hold where no file says
// others: the sandbox's models for whoever tries the gateway out, and those of
// OpenAI and Anthropic for whoever has a key.
package builtin

import (
	_ "embed" // the two files
	"fmt"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

//go:embed routes.yaml
var routesFile []byte

//go:embed prices.yaml
var pricesFile []byte

// Routes returns the routes, with the keys and addresses that the environment has,
// as a source that never changes. Checks are what the table must pass besides. An
// error is the environment's: an address that is none, or nothing at all to ask.
func Routes(env func(string) string, checks ...func(*routes.Table) error) (*routes.Source, error) {
	table, err := routes.Parse("routes.yaml (built in)", routesFile, env)
	if err != nil {
		return nil, err
	}
	for _, check := range checks {
		if err := check(table); err != nil {
			return nil, err
		}
	}
	return document.Fixed(table), nil
}

// Prices returns the prices, as a source that never changes.
func Prices() *price.Source {
	table, err := price.Parse("prices.yaml (built in)", pricesFile)
	if err != nil {
		panic(fmt.Sprintf("a file that is part of this program cannot be read: %v", err)) // tests read the same bytes
	}
	return document.Fixed(table)
}
