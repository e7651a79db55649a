package resilience

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// keyMetadata carries the idempotency key of a request; see pkg/idempotency.
const keyMetadata = "idempotency-key"

// method is what a policy means to who calls.
type method struct {
	timeout    time.Duration // of the call; zero: the caller's deadline alone
	attempt    time.Duration // of one attempt; zero: as long as the call
	hedgeAfter time.Duration // zero: never
	repeatable bool          // a repeat does no harm
	needsKey   bool          // ... provided that the request carries a key
	latency    latency
}

// unlisted is for methods without a policy, such as health checks: nothing says
// that they may be repeated.
var unlisted = &method{}

func methodsOf(cfg Config, policies *policy.Set) map[string]*method {
	methods := map[string]*method{}
	if policies == nil {
		return methods
	}
	for _, p := range policies.All() {
		m := &method{timeout: p.Timeout, repeatable: true, needsKey: p.NeedsKey() || p.Idempotency == policyv1.Idempotency_IDEMPOTENCY_KEY_OPTIONAL}
		if p.ReadOnly {
			// An attempt at a write has the whole time: to repeat one whose fate is
			// open makes the server look for it, and wait for it, once more.
			m.attempt = time.Duration(float64(p.Timeout) * cfg.AttemptPart)
			m.hedgeAfter = cfg.HedgeAfter
		}
		methods[p.FullName] = m
	}
	return methods
}

// mayRepeat reports whether sending the request of ctx again does no harm.
func (m *method) mayRepeat(ctx context.Context) bool {
	if !m.needsKey {
		return m.repeatable
	}
	outgoing, _ := metadata.FromOutgoingContext(ctx)
	return len(outgoing.Get(keyMetadata)) > 0
}

// deadline is when the call must be over; zero: never.
func (m *method) deadline(ctx context.Context, now time.Time) time.Time {
	deadline, ok := ctx.Deadline()
	if m.timeout > 0 {
		if own := now.Add(m.timeout); !ok || own.Before(deadline) {
			return own
		}
	}
	return deadline
}

// patient reports whether an attempt that took so long had a fair chance: the
// caller of one that had not learnt nothing about the dependency.
func (m *method) patient(took time.Duration) bool {
	fair := m.attempt
	if fair == 0 {
		fair = m.timeout / 2
	}
	return fair > 0 && took >= fair
}
