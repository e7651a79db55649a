package shed

import (
	"context"
	"math"
	"strconv"

	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/resilience"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// levels are the criticalities from the least critical. The names are what
// metrics and logs call them.
var levels = [...]struct {
	criticality policyv1.Criticality
	name        string
	share       float64 // of the limit, that calls of this level may fill
}{
	{policyv1.Criticality_CRITICALITY_SHEDDABLE, "sheddable", 0.6},
	{policyv1.Criticality_CRITICALITY_SHEDDABLE_PLUS, "sheddable_plus", 0.75},
	{policyv1.Criticality_CRITICALITY_CRITICAL, "critical", 0.9},
	{policyv1.Criticality_CRITICALITY_CRITICAL_PLUS, "critical_plus", 1},
}

// level is an index of levels.
type level int

// levelOf returns the level of a criticality. One that this release does not
// know is treated as critical: it was made for a method that matters to someone.
func levelOf(c policyv1.Criticality) level {
	for i := range levels {
		if levels[i].criticality == c {
			return level(i)
		}
	}
	return 2
}

func (l level) String() string { return levels[l].name }

// room is how many calls may be in flight for one more of this level to be let
// in. The rest of the limit is kept for what is more critical. A queue that
// serves the critical first is not enough where calls take long: all places
// would be taken by sheddable calls, and the critical one would wait for one of
// them to finish. What is kept is no loss of throughput, since the limit settles
// above what the server can work on at once. (Netflix does the same with shares
// of utilisation: "Enhancing Netflix Reliability with Service-Level Prioritized
// Load Shedding", 2024.)
func (l level) room(limit int) int { return int(math.Ceil(levels[l].share * float64(limit))) }

// class is where a call stands in the queue: its level, and within it whether
// it is a first attempt. A retry is worth less: its first attempt has already
// cost somebody something, and retries are what keeps an overload alive after
// its cause is gone. (Google's Site Reliability Engineering, ch. 21, "Handling
// Overload": criticality, and retries told by an attempt count in the request.)
type class int

const classes = 2 * len(levels)

func classOf(l level, retry bool) class {
	if retry {
		return class(2 * l)
	}
	return class(2*l + 1)
}

func (c class) level() level { return level(c / 2) }

// isRetry reports whether the request says that it is not a first attempt. What
// is not a number counts as a first attempt. Nobody gains by lying: it can only
// make a request less important than others of its method.
func isRetry(ctx context.Context) bool {
	for _, value := range metadata.ValueFromIncomingContext(ctx, resilience.AttemptMetadata) {
		if n, err := strconv.Atoi(value); err == nil && n > 1 {
			return true
		}
	}
	return false
}
