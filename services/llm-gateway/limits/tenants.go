package limits

import (
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// maxTenants is how many tenants are remembered at once.
const maxTenants = 100_000

// Tenants keeps to the limits of tenants. It may be used from many goroutines.
type Tenants struct{ buckets *buckets[string] }

// NewTenants returns limits of which nothing is used yet.
func NewTenants() *Tenants { return newTenants(maxTenants, time.Now) }

func newTenants(capacity int, now func() time.Time) *Tenants {
	return &Tenants{newBuckets[string](capacity, now)}
}

// Reserve takes a request and as many tokens as it can use at the worst, input and
// output together. If it may not, nothing is taken, and retryAfter is how long to
// wait before it might. The limit is the tenant's as it is now: one that a new file
// of routes changes is heeded at once, and what was used counts on.
func (t *Tenants) Reserve(tenant string, limit routes.Limit, tokens int64) (r Reservation, retryAfter time.Duration, ok bool) {
	return t.buckets.reserve(tenant, rate{limit.RequestsPerMinute, limit.TokensPerMinute}, tokens)
}
