package ratelimit

import (
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// Decision is what a limit says to one request. The zero Decision is that of a
// limit that is not there; it is not allowed, so take [Unlimited].
type Decision struct {
	// Allowed says whether the request may go on.
	Allowed bool
	// Quota is the name of the quota that decided.
	Quota string
	// Limit is how many requests may come at once: the size of the bucket.
	Limit int
	// Remaining is how many more may come now.
	Remaining int
	// Reset is when there will be one more than Remaining; 0 if there never are.
	Reset time.Duration
	// RetryAfter is when a refused request would be allowed, if nothing else is
	// sent until then; 0 if this one is.
	RetryAfter time.Duration

	announced *announcement // nil: nothing to tell
}

// Unlimited is the decision where there is no limit.
var Unlimited = Decision{Allowed: true}

// Err is the error to answer a refused request with: RATE_LIMITED, with
// RetryInfo. It is nil if the request is allowed.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return apierror.New(apierror.ReasonRateLimited, "too many requests: the quota "+strconv.Quote(d.Quota)+" is used up for now",
		apierror.WithRetryAfter(d.RetryAfter), apierror.WithMetadata("quota", d.Quota))
}
