package payments

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// Config is what payments is told by its environment.
type Config struct {
	Processor  string        `env:"HOLDFAST_PROCESSOR" envDefault:"sandbox" doc:"who moves the money: sandbox or stripe"`
	Timeout    time.Duration `env:"HOLDFAST_PROCESSOR_TIMEOUT" envDefault:"3s" doc:"how long one call to the processor may take; less than every method that makes one has"`
	SandboxURL string        `env:"HOLDFAST_SANDBOX_URL" envDefault:"http://sandbox:8080" doc:"where the sandbox processor answers"`
	Horizon    time.Duration `env:"HOLDFAST_SANDBOX_HORIZON" envDefault:"24h" doc:"how long the sandbox processor remembers an idempotency key"`

	Stripe StripeConfig      `envPrefix:"HOLDFAST_STRIPE_"`
	Calls  resilience.Config `envPrefix:"HOLDFAST_PROCESSOR_"`
}

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var problems []error
	switch c.Processor {
	case "sandbox":
		if _, err := sandboxBase(c.SandboxURL); err != nil {
			problems = append(problems, err)
		}
	case "stripe":
		problems = append(problems, c.Stripe.check())
	default:
		problems = append(problems, fmt.Errorf("HOLDFAST_PROCESSOR is %q, must be sandbox or stripe", c.Processor))
	}
	for name, d := range map[string]time.Duration{
		"HOLDFAST_PROCESSOR_TIMEOUT": c.Timeout,
		"HOLDFAST_SANDBOX_HORIZON":   c.Horizon,
	} {
		if d <= 0 {
			problems = append(problems, fmt.Errorf("%s is %v, must be positive", name, d))
		}
	}
	return errors.Join(append(problems, c.Calls.Check("HOLDFAST_PROCESSOR_"))...)
}

// fits checks that the processor's time nests inside what surrounds it: a call
// inside its method with the second commit, and the completer's lookup and call
// inside its lease, which in turn is inside the margin around the horizon.
func (c Config) fits(keys idempotency.Config) error {
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().ByName("PaymentsService"))
	if err != nil {
		return fmt.Errorf("policies of payments: %w", err)
	}
	var problems []error
	for _, m := range policies.All() {
		if m.Idempotency == policyv1.Idempotency_IDEMPOTENCY_KEY_REQUIRED && c.Timeout+keys.Reserve > m.Timeout {
			problems = append(problems, fmt.Errorf("HOLDFAST_PROCESSOR_TIMEOUT is %v, which with HOLDFAST_IDEMPOTENCY_RESERVE of %v does not fit into the %v of %s",
				c.Timeout, keys.Reserve, m.Timeout, m.FullName))
		}
	}
	if 2*c.Timeout+keys.Reserve > keys.Lease {
		problems = append(problems, fmt.Errorf("HOLDFAST_PROCESSOR_TIMEOUT is %v, and two of them with HOLDFAST_IDEMPOTENCY_RESERVE of %v do not fit into HOLDFAST_IDEMPOTENCY_LEASE, which is %v",
			c.Timeout, keys.Reserve, keys.Lease))
	}
	if margin := marginOf(c.Horizon); margin <= keys.Lease {
		problems = append(problems, fmt.Errorf("HOLDFAST_SANDBOX_HORIZON is %v, whose margin of %v does not exceed HOLDFAST_IDEMPOTENCY_LEASE, which is %v: a request could be sent past the horizon",
			c.Horizon, margin, keys.Lease))
	}
	return errors.Join(problems...)
}
