package payments

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// stripeKeyLife is for how long Stripe promises to keep an idempotency key
// (docs.stripe.com/api/idempotent_requests).
const stripeKeyLife = 24 * time.Hour

// StripeConfig is what it takes to move money through Stripe.
type StripeConfig struct {
	URL     string        `env:"URL" envDefault:"https://api.stripe.com" doc:"where Stripe's API answers; stripe-mock, for example, at http://127.0.0.1:12111"`
	Key     string        `env:"KEY" secret:"true" doc:"secret or restricted API key of the Stripe account"`
	KeyFile string        `env:"KEY_FILE" doc:"file that holds the API key, in place of HOLDFAST_STRIPE_KEY; read at start"`
	Horizon time.Duration `env:"HORIZON" envDefault:"23h" doc:"how long after its first use a key may be sent to Stripe again; Stripe keeps keys for 24h. Later they are only looked up"`
}

// check reports every setting that could not work. No error holds the key.
func (c StripeConfig) check() error {
	var problems []error
	base, err := url.Parse(c.URL)
	switch {
	case err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "":
		problems = append(problems, fmt.Errorf("HOLDFAST_STRIPE_URL is %q, must be an http or https URL", c.URL))
	case base.Scheme == "http" && strings.Contains(c.Key, "_live_"):
		problems = append(problems, errors.New("HOLDFAST_STRIPE_URL is not https: a live key would be sent for everybody to read"))
	}
	if c.Horizon <= 0 || c.Horizon > stripeKeyLife-time.Hour {
		problems = append(problems, fmt.Errorf("HOLDFAST_STRIPE_HORIZON is %v, must be positive and at most %v: an hour less than Stripe keeps keys, for clocks and requests on their way", c.Horizon, stripeKeyLife-time.Hour))
	}
	if (c.Key == "") == (c.KeyFile == "") {
		problems = append(problems, errors.New("set HOLDFAST_STRIPE_KEY or HOLDFAST_STRIPE_KEY_FILE, and not both"))
	}
	return errors.Join(problems...)
}

// secret is the API key, wherever it is.
func (c StripeConfig) secret() (string, error) {
	if c.KeyFile == "" {
		return c.Key, nil
	}
	data, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return "", fmt.Errorf("HOLDFAST_STRIPE_KEY_FILE: %w", err)
	}
	key := strings.TrimSpace(string(data))
	if key == "" {
		return "", fmt.Errorf("HOLDFAST_STRIPE_KEY_FILE: %s is empty", c.KeyFile)
	}
	return key, nil
}
