//go:build !outlier

package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// TestWithoutEjectionABadReplicaCostsAThird is the control of outlier ejection,
// and what is true of every build that does not ask for it: a replica that fails
// all its calls gets a third of them for as long as it lives.
func TestWithoutEjectionABadReplicaCostsAThird(t *testing.T) {
	f := newFleet(t, 3)
	bad := f.replicas()[1]
	bad.shop.refuse.Store(apierror.New(apierror.ReasonDependencyUnavailable, "nothing works here"))
	client := ordersv1.NewOrdersServiceClient(f.dial(nil))
	eventually(t, func() bool { return ask(t, client, 1) == 1 }, "it is found")

	// Twice the interval after which ejection would have ended it.
	began := time.Now()
	for time.Since(began) < 4*time.Second {
		ask(t, client, 1)
		time.Sleep(10 * time.Millisecond) // a steady load: what it must outlast is time
	}
	require.InDelta(t, 100, ask(t, client, 300), 2, "of 300 calls")
}
