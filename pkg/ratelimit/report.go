package ratelimit

// Report is what /statusz shows of the limits.
type Report struct {
	// Limits are those that are on.
	Limits []LimitReport `json:"limits"`
	// TrustedProxies are whose X-Forwarded-For is believed.
	TrustedProxies string `json:"trusted_proxies,omitempty"`
	// Exempt are whose addresses are not limited.
	Exempt string `json:"exempt,omitempty"`
}

// LimitReport is one limit.
type LimitReport struct {
	// Quota is its name, as clients are told it.
	Quota string `json:"quota"`
	// Rate is in requests a second.
	Rate float64 `json:"rate"`
	// Burst is how many may come at once.
	Burst int `json:"burst"`
	// Keys is how many addresses or tenants have used some of it.
	Keys int `json:"keys"`
	// MaxKeys is how many are remembered at most.
	MaxKeys int `json:"max_keys"`
}

// Report tells what the limits are, and how many they watch.
func (l *Limits) Report() Report {
	r := Report{Limits: []LimitReport{}, TrustedProxies: l.trusted.String(), Exempt: l.exempt.String()}
	r.Limits = report(r.Limits, l.address)
	r.Limits = report(r.Limits, l.failedAuth)
	r.Limits = report(r.Limits, l.reads)
	r.Limits = report(r.Limits, l.writes)
	return r
}

func report[K comparable](all []LimitReport, l *Limiter[K]) []LimitReport {
	if l == nil {
		return all
	}
	return append(all, LimitReport{Quota: l.quota.Name, Rate: l.quota.Rate, Burst: l.quota.Burst, Keys: l.Keys(), MaxKeys: l.capacity})
}
