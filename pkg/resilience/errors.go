package resilience

import (
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// The errors of a dependency that is not called. They are typed, so that they
// reach clients as what they are: failsafe-go's own carry no status and would
// become UNKNOWN, or PERMISSION_DENIED from a tap handle.

// probing is how long a half-open or forced-open breaker asks to wait: nobody
// knows better.
const probing = time.Second

func errOpen(dependency string, wait time.Duration) error {
	if wait <= 0 {
		wait = probing
	}
	return apierror.New(apierror.ReasonBreakerOpen, dependency+" is failing and is not being called",
		apierror.WithMetadata("dependency", dependency), apierror.WithRetryAfter(wait))
}

func errFull(dependency string) error {
	return apierror.New(apierror.ReasonOverloaded, "too many calls to "+dependency+" are in flight",
		apierror.WithMetadata("dependency", dependency))
}
