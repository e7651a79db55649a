package llmgateway

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

// Config is what the gateway is told by its environment.
type Config struct {
	RoutesFile string        `env:"HOLDFAST_LLM_ROUTES_FILE" doc:"file of providers, routes, budgets and limits; empty: the one that is built in"`
	PricesFile string        `env:"HOLDFAST_LLM_PRICES_FILE" doc:"file of prices; empty: the one that is built in"`
	SandboxURL string        `env:"HOLDFAST_SANDBOX_URL" envDefault:"http://sandbox:8080" doc:"where the sandbox's providers answer"`
	OpenAI     string        `env:"OPENAI_API_KEY" secret:"true" doc:"key of OpenAI; empty: the routes that are built in leave OpenAI out"`
	Anthropic  string        `env:"ANTHROPIC_API_KEY" secret:"true" doc:"key of Anthropic; empty: the routes that are built in leave Anthropic out"`
	Reload     time.Duration `env:"HOLDFAST_LLM_RELOAD" envDefault:"5s" doc:"how often both files are looked at"`
	Ledger     bool          `env:"HOLDFAST_LLM_LEDGER" envDefault:"true" doc:"book what requests cost; without it there are no budgets, no usage, and no idempotency keys"`
	MaxBody    int64         `env:"HOLDFAST_LLM_MAX_BODY" envDefault:"16777216" doc:"the largest request in the protocols of OpenAI and Anthropic, in bytes"`
	Lease      time.Duration `env:"HOLDFAST_LLM_LEASE" envDefault:"30s" doc:"how long after its replica was last heard of a request counts as abandoned"`
	KeepAlive  time.Duration `env:"HOLDFAST_LLM_KEEPALIVE" envDefault:"15s" doc:"how long a stream may be silent before it is told that it lives"`
	SettleFor  time.Duration `env:"HOLDFAST_LLM_SETTLE_FOR" envDefault:"5s" doc:"how long an answer waits for the ledger; after that it is booked in the background"`
	Reconcile  time.Duration `env:"HOLDFAST_LLM_RECONCILE_INTERVAL" envDefault:"5s" doc:"how often is looked for requests that nobody answers for"`
	FirstLook  time.Duration `env:"HOLDFAST_LLM_FIRST_LOOK" envDefault:"10s" doc:"how long after it was lost a request is first asked about"`
	Horizon    time.Duration `env:"HOLDFAST_LLM_HORIZON" envDefault:"1m" doc:"how long a request must have been lost before a provider is believed that never saw it"`
	KeyFor     time.Duration `env:"HOLDFAST_LLM_KEY_RETENTION" envDefault:"24h" doc:"how long an idempotency key stands for its answer"`
	History    time.Duration `env:"HOLDFAST_LLM_HISTORY" envDefault:"2160h" doc:"how long single attempts are kept before they are added up by day"`
}

// variables are those of the environment as files of routes may name them. Those
// that the gateway itself reads have their defaults; and in production there is no
// sandbox, so that no route of the built-in file leads to one.
func (c Config) variables(environment config.Environment) func(string) string {
	return func(name string) string {
		switch name {
		case "HOLDFAST_SANDBOX_URL":
			if environment == config.Production {
				return ""
			}
			return c.SandboxURL
		case "OPENAI_API_KEY":
			return c.OpenAI
		case "ANTHROPIC_API_KEY":
			return c.Anthropic
		default:
			return os.Getenv(name)
		}
	}
}

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var problems []error
	for name, d := range map[string]time.Duration{
		"HOLDFAST_LLM_RELOAD":             c.Reload,
		"HOLDFAST_LLM_LEASE":              c.Lease,
		"HOLDFAST_LLM_KEEPALIVE":          c.KeepAlive,
		"HOLDFAST_LLM_SETTLE_FOR":         c.SettleFor,
		"HOLDFAST_LLM_RECONCILE_INTERVAL": c.Reconcile,
		"HOLDFAST_LLM_FIRST_LOOK":         c.FirstLook,
		"HOLDFAST_LLM_HORIZON":            c.Horizon,
		"HOLDFAST_LLM_KEY_RETENTION":      c.KeyFor,
		"HOLDFAST_LLM_HISTORY":            c.History,
	} {
		if d <= 0 {
			problems = append(problems, fmt.Errorf("%s is %v, must be positive", name, d))
		}
	}
	if c.MaxBody <= 0 {
		problems = append(problems, fmt.Errorf("HOLDFAST_LLM_MAX_BODY is %d, must be positive", c.MaxBody))
	}
	return errors.Join(problems...)
}
