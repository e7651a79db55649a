package ratelimit

import (
	"errors"
	"fmt"
)

// Config is the limits of a server. A rate is in requests a second and may be a
// fraction; a burst is what may come at once after a pause, and the most that is
// ever saved up. Rate 0 turns a limit off.
//
// The defaults are for a replica that serves some hundreds of requests a second:
// far above what a fair caller sends, far below what takes a replica away from
// all others. Failed authentication is the exception. Whoever fails five times a
// second has a wrong key in a loop, or none and is looking for one.
type Config struct {
	Address      float64 `env:"HOLDFAST_RATE_ADDRESS" envDefault:"2000" doc:"requests a second of one client address, an IPv6 /64 being one; 0: no limit. All limits hold for one replica"`
	AddressBurst int     `env:"HOLDFAST_RATE_ADDRESS_BURST" envDefault:"4000" doc:"how many of them may come at once"`

	FailedAuth      float64 `env:"HOLDFAST_RATE_FAILED_AUTH" envDefault:"5" doc:"credentials a second of one client address that may be missing or wrong; 0: no limit"`
	FailedAuthBurst int     `env:"HOLDFAST_RATE_FAILED_AUTH_BURST" envDefault:"20" doc:"how many of them may come at once"`

	TenantReads       float64 `env:"HOLDFAST_RATE_TENANT_READS" envDefault:"1000" doc:"reads a second of one tenant; 0: no limit"`
	TenantReadsBurst  int     `env:"HOLDFAST_RATE_TENANT_READS_BURST" envDefault:"2000" doc:"how many of them may come at once"`
	TenantWrites      float64 `env:"HOLDFAST_RATE_TENANT_WRITES" envDefault:"1000" doc:"writes a second of one tenant; 0: no limit"`
	TenantWritesBurst int     `env:"HOLDFAST_RATE_TENANT_WRITES_BURST" envDefault:"2000" doc:"how many of them may come at once"`

	TrustedProxies string `env:"HOLDFAST_RATE_TRUSTED_PROXIES" doc:"networks, such as 10.0.0.0/8,fd00::/8, whose X-Forwarded-For is believed; without the one of the proxy in front all its clients share one address"`
	Exempt         string `env:"HOLDFAST_RATE_EXEMPT" doc:"networks whose addresses are not limited, such as that of the pods: services that call share theirs"`

	Keys int `env:"HOLDFAST_RATE_KEYS" envDefault:"16384" doc:"addresses, and tenants, that each limit remembers at most, about 250 bytes each; the least recently seen are forgotten first"`
}

// What a Config may hold at most. RateLimit fields are integers of at most 15
// digits (RFC 9651); nobody needs a limit as high as these.
const (
	maxRate = 1e9
	maxKeys = 1 << 24
)

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	for _, limit := range []struct {
		variable string
		rate     float64
		burst    int
	}{
		{"HOLDFAST_RATE_ADDRESS", c.Address, c.AddressBurst},
		{"HOLDFAST_RATE_FAILED_AUTH", c.FailedAuth, c.FailedAuthBurst},
		{"HOLDFAST_RATE_TENANT_READS", c.TenantReads, c.TenantReadsBurst},
		{"HOLDFAST_RATE_TENANT_WRITES", c.TenantWrites, c.TenantWritesBurst},
	} {
		// Written so that NaN, which compares with nothing, is refused.
		check(limit.rate >= 0 && limit.rate <= maxRate, "%s is %v, must be 0 to %.0f a second", limit.variable, limit.rate, maxRate)
		check(limit.rate == 0 || (limit.burst >= 1 && limit.burst <= maxRate),
			"%s_BURST is %d, must be 1 to %.0f: nothing would pass", limit.variable, limit.burst, maxRate)
	}
	networks := func(variable, list string) Networks {
		good, bad := parseNetworks(list)
		for _, problem := range bad {
			check(false, "%s: %w", variable, problem)
		}
		return good
	}
	for _, network := range networks("HOLDFAST_RATE_TRUSTED_PROXIES", c.TrustedProxies) {
		check(network.Bits() > 0, "HOLDFAST_RATE_TRUSTED_PROXIES has %s: every client could claim any address", network)
	}
	networks("HOLDFAST_RATE_EXEMPT", c.Exempt)
	check(c.Keys >= 1 && c.Keys <= maxKeys, "HOLDFAST_RATE_KEYS is %d, must be 1 to %d", c.Keys, maxKeys)
	return errors.Join(problems...)
}
