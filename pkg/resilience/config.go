package resilience

import (
	"errors"
	"fmt"
	"time"
)

// Config says what one dependency is worth. The zero value is not usable: read
// it from the environment, where every setting has a default, or begin with
// [Defaults]. As a field of a service's Config it is given a prefix, such as
// `envPrefix:"HOLDFAST_PAYMENTS_"`.
type Config struct {
	MaxAttempts int           `env:"MAX_ATTEMPTS" envDefault:"3" doc:"attempts at one call, the first included; 1 never retries"`
	Backoff     time.Duration `env:"BACKOFF" envDefault:"50ms" doc:"longest pause before the second attempt; doubles with each further one, and the pause is drawn between zero and it"`
	MaxBackoff  time.Duration `env:"MAX_BACKOFF" envDefault:"1s" doc:"longest pause before any attempt"`
	RetryRatio  float64       `env:"RETRY_RATIO" envDefault:"0.1" doc:"retries and hedges that each call pays for: 0.1 bounds what is added to the load at a tenth"`
	AttemptPart float64       `env:"ATTEMPT_PART" envDefault:"0.5" doc:"part of a read's timeout that one attempt may take, so that another one still fits"`
	HedgeAfter  time.Duration `env:"HEDGE_AFTER" envDefault:"0s" doc:"a read that takes longer is sent a second time; 0s never"`

	BreakerWindow   time.Duration `env:"BREAKER_WINDOW" envDefault:"10s" doc:"time over which the circuit breaker counts"`
	BreakerMinCalls uint          `env:"BREAKER_MIN_CALLS" envDefault:"20" doc:"fewer calls than this in the window never open it"`
	BreakerRate     float64       `env:"BREAKER_RATE" envDefault:"0.5" doc:"part of the calls that must fail for it to open"`
	BreakerSlow     time.Duration `env:"BREAKER_SLOW" envDefault:"0s" doc:"a call that takes longer counts as failed; 0s counts timeouts only"`
	BreakerOpenFor  time.Duration `env:"BREAKER_OPEN_FOR" envDefault:"5s" doc:"how long it stays open before it probes, give or take a fifth"`
	BreakerProbes   uint          `env:"BREAKER_PROBES" envDefault:"3" doc:"calls let through at once to probe; all must succeed for it to close"`

	MaxConcurrent int           `env:"MAX_CONCURRENT" envDefault:"128" doc:"calls in flight at most, retries included"`
	MaxWait       time.Duration `env:"MAX_WAIT" envDefault:"50ms" doc:"how long a call may wait for its turn"`
}

// Defaults is what the environment gives when it says nothing:
//
//   - Three attempts: one failed replica is survived twice over; more attempts
//     only make an outage longer for who waits.
//   - A retry ratio of a tenth: enough for a replica of ten that is away, and
//     too little to keep a dependency down that is coming back.
//   - The breaker opens at half of at least 20 calls in 10 s: one bad replica of
//     three does not open it (that is a load balancer's to solve), a dependency
//     that is gone does within seconds.
//   - 128 calls at once: what a service of this size has room for. A dependency
//     that hangs can then hold 128 goroutines, not all of them.
func Defaults() Config {
	return Config{
		MaxAttempts: 3, Backoff: 50 * time.Millisecond, MaxBackoff: time.Second, RetryRatio: 0.1, AttemptPart: 0.5,
		BreakerWindow: 10 * time.Second, BreakerMinCalls: 20, BreakerRate: 0.5, BreakerOpenFor: 5 * time.Second, BreakerProbes: 3,
		MaxConcurrent: 128, MaxWait: 50 * time.Millisecond,
	}
}

// Check reports every setting that could not work; prefix is that of the
// variables.
func (c Config) Check(prefix string) error {
	var problems []error
	check := func(ok bool, name string, is any, must string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s%s is %v, must be %s", prefix, name, is, must))
		}
	}
	check(c.MaxAttempts >= 1 && c.MaxAttempts <= 10, "MAX_ATTEMPTS", c.MaxAttempts, "between 1 and 10")
	check(c.Backoff > 0, "BACKOFF", c.Backoff, "positive")
	check(c.MaxBackoff >= c.Backoff, "MAX_BACKOFF", c.MaxBackoff, "at least "+prefix+"BACKOFF")
	check(c.RetryRatio >= 0 && c.RetryRatio <= 1, "RETRY_RATIO", c.RetryRatio, "between 0 and 1")
	check(c.AttemptPart > 0 && c.AttemptPart <= 1, "ATTEMPT_PART", c.AttemptPart, "above 0 and at most 1")
	check(c.HedgeAfter >= 0, "HEDGE_AFTER", c.HedgeAfter, "not negative")
	check(c.BreakerWindow >= 100*time.Millisecond, "BREAKER_WINDOW", c.BreakerWindow, "at least 100ms")
	check(c.BreakerMinCalls >= 1, "BREAKER_MIN_CALLS", c.BreakerMinCalls, "positive")
	check(c.BreakerRate > 0 && c.BreakerRate <= 1, "BREAKER_RATE", c.BreakerRate, "above 0 and at most 1")
	check(c.BreakerSlow >= 0, "BREAKER_SLOW", c.BreakerSlow, "not negative")
	check(c.BreakerOpenFor > 0, "BREAKER_OPEN_FOR", c.BreakerOpenFor, "positive")
	check(c.BreakerProbes >= 1, "BREAKER_PROBES", c.BreakerProbes, "positive")
	check(c.MaxConcurrent >= 1, "MAX_CONCURRENT", c.MaxConcurrent, "positive")
	check(c.MaxWait >= 0, "MAX_WAIT", c.MaxWait, "not negative")
	return errors.Join(problems...)
}
