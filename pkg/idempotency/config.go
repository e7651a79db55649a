package idempotency

import (
	"errors"
	"fmt"
	"time"
)

// Config is what an operator may set.
type Config struct {
	// Secrets derives child keys and resource ids; see [NewDeriver].
	Secrets string `env:"HOLDFAST_DERIVATION_SECRETS" secret:"true" doc:"secrets that child keys and resource ids derive from, newest first: v2:<hex>,v1:<hex>; 32 bytes each; keep old ones"`
	// Retention is for how long an answer is replayed. It is published: clients
	// rely on it.
	Retention time.Duration `env:"HOLDFAST_IDEMPOTENCY_RETENTION" envDefault:"24h" doc:"how long after a key was minted its answer is replayed; later the key is refused"`
	// Skew is how far ahead of the database's clock a key may have been minted.
	Skew time.Duration `env:"HOLDFAST_IDEMPOTENCY_SKEW" envDefault:"5m" doc:"how far in the future a key may have been minted"`
	// Wait is how long a duplicate waits for the first arrival's answer.
	Wait time.Duration `env:"HOLDFAST_IDEMPOTENCY_WAIT" envDefault:"500ms" doc:"how long a duplicate waits for the answer of a request in flight"`
	// Bound is how long an owner works on an external effect when its method's
	// policy does not say.
	Bound time.Duration `env:"HOLDFAST_IDEMPOTENCY_BOUND" envDefault:"5s" doc:"how long a request with an external effect may work without a method timeout"`
	// Reserve is the part of the bound kept for the second commit.
	Reserve time.Duration `env:"HOLDFAST_IDEMPOTENCY_RESERVE" envDefault:"500ms" doc:"the part of a request's time kept for committing its outcome"`
	// Lease is for how long an owner is left alone after its time is up at the
	// latest. It starts at the first commit and must exceed every method timeout.
	Lease time.Duration `env:"HOLDFAST_IDEMPOTENCY_LEASE" envDefault:"8s" doc:"how long an owner of a pending request is left alone before it is taken over"`
}

// DefaultConfig returns the defaults without secrets.
func DefaultConfig() Config {
	return Config{
		Retention: 24 * time.Hour,
		Skew:      5 * time.Minute,
		Wait:      500 * time.Millisecond,
		Bound:     5 * time.Second,
		Reserve:   500 * time.Millisecond,
		Lease:     8 * time.Second,
	}
}

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Retention >= time.Minute && c.Retention <= 30*day,
		"HOLDFAST_IDEMPOTENCY_RETENTION is %v, must be from 1m to 720h", c.Retention)
	check(c.Skew >= 0 && c.Skew <= day,
		"HOLDFAST_IDEMPOTENCY_SKEW is %v, must be from 0 to 24h", c.Skew)
	check(c.Wait >= 0, "HOLDFAST_IDEMPOTENCY_WAIT is %v, must not be negative", c.Wait)
	check(c.Reserve > 0 && c.Reserve < c.Bound,
		"HOLDFAST_IDEMPOTENCY_RESERVE is %v, must be above 0 and below HOLDFAST_IDEMPOTENCY_BOUND, which is %v", c.Reserve, c.Bound)
	check(c.Lease > c.Bound,
		"HOLDFAST_IDEMPOTENCY_LEASE is %v, must be above HOLDFAST_IDEMPOTENCY_BOUND, which is %v", c.Lease, c.Bound)
	return errors.Join(errs...)
}
