package ratelimit

import (
	"net/netip"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Limits are the limits of one server, over all ways into it. Close them.
type Limits struct {
	address    *Limiter[netip.Addr] // nil, as each of these: no limit
	failedAuth *Limiter[netip.Addr]
	reads      *Limiter[string] // by tenant
	writes     *Limiter[string]

	trusted Networks
	exempt  Networks
	counts  counts
	unmeter func() error // stops the metrics
}

// counts are of what the metrics tell. Atomics cost less than an instrument for
// each request.
type counts struct{ address, failedAuth, tenant count }

type count struct{ allowed, refused atomic.Int64 }

func (c *count) add(d Decision) Decision {
	if d.Allowed {
		c.allowed.Add(1)
	} else {
		c.refused.Add(1)
	}
	return d
}

// New makes the limits. It fails as [Config.Validate] does.
func New(cfg Config) (*Limits, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Limits{
		address:    limiter[netip.Addr](Quota{"address", cfg.Address, cfg.AddressBurst}, cfg.Keys),
		failedAuth: limiter[netip.Addr](Quota{"failed-auth", cfg.FailedAuth, cfg.FailedAuthBurst}, cfg.Keys),
		reads:      limiter[string](Quota{"tenant-reads", cfg.TenantReads, cfg.TenantReadsBurst}, cfg.Keys),
		writes:     limiter[string](Quota{"tenant-writes", cfg.TenantWrites, cfg.TenantWritesBurst}, cfg.Keys),
	}
	l.trusted, _ = ParseNetworks(cfg.TrustedProxies) // Validate has
	l.exempt, _ = ParseNetworks(cfg.Exempt)
	l.unmeter = l.measure()
	return l, nil
}

func limiter[K comparable](q Quota, keys int) *Limiter[K] {
	if q.Rate == 0 {
		return nil
	}
	return NewLimiter[K](q, keys)
}

// Close stops the metrics. The limits hold as before.
func (l *Limits) Close() error { return l.unmeter() }

// limited reports whether a limit by address is for this one. The zero address
// is that of a call which began inside the process.
func (l *Limits) limited(client netip.Addr) bool {
	return client.IsValid() && !l.exempt.Contain(client)
}

// Address counts a request of a client address, and decides on it.
func (l *Limits) Address(client netip.Addr) Decision {
	if l.address == nil || !l.limited(client) {
		return Unlimited
	}
	return l.counts.address.add(l.address.Take(keyOf(client)))
}

// MayAuthenticate decides whether a credential from the address is looked at.
func (l *Limits) MayAuthenticate(client netip.Addr) Decision {
	if l.failedAuth == nil || !l.limited(client) {
		return Unlimited
	}
	d := l.failedAuth.Peek(keyOf(client))
	if !d.Allowed {
		l.counts.failedAuth.refused.Add(1)
	}
	return d
}

// AuthenticationFailed counts a credential from the address that was missing or
// wrong. Those that are being looked at while the last token goes are one too
// many each: there are no more of them than the server works on at a time.
func (l *Limits) AuthenticationFailed(client netip.Addr) {
	if l.failedAuth == nil || !l.limited(client) {
		return
	}
	l.failedAuth.Take(keyOf(client))
	l.counts.failedAuth.allowed.Add(1) // it was answered as what it is
}

// Tenant counts a call, and decides on it. Calls of services are not counted:
// where the tenant's own call came in, it was.
func (l *Limits) Tenant(p auth.Principal, m policy.Method) Decision {
	tenants := l.writes
	if m.ReadOnly {
		tenants = l.reads
	}
	if tenants == nil || p.Service {
		return Unlimited
	}
	return l.counts.tenant.add(tenants.Take(p.Tenant))
}
