//go:build outlier

package service

import (
	"fmt"
	"time"

	// Registers outlier_detection_experimental. No smaller package that is exported
	// does; all of xDS comes with it, which is what the build tag is for.
	_ "google.golang.org/grpc/xds"
)

// balancing is round robin that leaves out a replica which only fails, for a
// while (gRFC A50, Outlier Detection).
var balancing = ejecting(2*time.Second, 30*time.Second)

// ejecting leaves out failing replicas, by what each answered within an interval,
// the first time for as long as out says, and each time after it for so much
// longer, up to five minutes.
//
//   - What has failed is decided in a fixed number, not by comparing replicas: of
//     three, the one that is a little worse than the other two is always an outlier.
//   - Four fifths. Whatever is not OK counts, also what is the caller's fault, and
//     what a replica says that sheds load or drains. A replica that still answers
//     every fifth call works; one that is broken answers none.
//   - Five calls are little to judge by, but a client of few calls has a retry
//     budget to match, and needs this as much as others do.
//   - One of three at most, or of two (a share of a third, and one in any case):
//     were it all a mistake, or all of them bad, the others go on.
//   - Two seconds: until then each third call needs a retry, and the budget pays
//     for each tenth.
func ejecting(interval, out time.Duration) string {
	return fmt.Sprintf(`{"outlier_detection_experimental": {
		"interval": "%gs",
		"baseEjectionTime": "%gs",
		"maxEjectionTime": "300s",
		"maxEjectionPercent": 33,
		"failurePercentageEjection": {"threshold": 80, "enforcementPercentage": 100, "minimumHosts": 2, "requestVolume": 5},
		"childPolicy": [%s]
	}}`, interval.Seconds(), out.Seconds(), roundRobin)
}
