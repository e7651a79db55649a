//go:build outlier

package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

var broken = apierror.New(apierror.ReasonDependencyUnavailable, "nothing works here")

// quicker ejects after half the time, and for a few seconds only.
func quicker() grpc.DialOption {
	return grpc.WithDefaultServiceConfig(serviceConfig(ejecting(time.Second, 3*time.Second)))
}

// avoided reports whether a number of calls, in which each replica would have had
// its turn, get by without one of them.
func avoided(t *testing.T, client ordersv1.OrdersServiceClient, bad *replica) bool {
	t.Helper()
	before := bad.shop.calls.Load()
	ask(t, client, 12)
	return bad.shop.calls.Load() == before
}

// awaitEjection calls until the replica was found, and then is left out.
func awaitEjection(t *testing.T, client ordersv1.OrdersServiceClient, bad *replica) {
	t.Helper()
	eventually(t, func() bool { return !avoided(t, client, bad) }, "it is connected to")
	eventually(t, func() bool { return avoided(t, client, bad) }, "it is left out")
}

// TestOutlierEjectionMakesABadReplicaCostNothing: with the settings that services
// have, without a retry that would hide it. What it costs without ejection is in
// TestWithoutEjectionABadReplicaCostsAThird.
func TestOutlierEjectionMakesABadReplicaCostNothing(t *testing.T) {
	f := newFleet(t, 3)
	bad := f.replicas()[1]
	bad.shop.refuse.Store(broken)
	client := ordersv1.NewOrdersServiceClient(f.dial(nil))

	awaitEjection(t, client, bad)
	before := bad.shop.calls.Load()
	require.Zero(t, ask(t, client, 300), "of 300 calls")
	require.Equal(t, before, bad.shop.calls.Load())
}

// TestOutlierEjectionEndsWhenTheReplicaIsWell: it is tried again when its time is
// over, and has its turn from then on.
func TestOutlierEjectionEndsWhenTheReplicaIsWell(t *testing.T) {
	f := newFleet(t, 3)
	bad := f.replicas()[1]
	bad.shop.refuse.Store(broken)
	client := ordersv1.NewOrdersServiceClient(f.dial(nil, quicker()))
	awaitEjection(t, client, bad)

	bad.shop.refuse.Store(nil)
	eventually(t, func() bool { return !avoided(t, client, bad) }, "it gets calls again")
	before := bad.shop.calls.Load()
	require.Zero(t, ask(t, client, 300), "of 300 calls")
	require.InDelta(t, 100, bad.shop.calls.Load()-before, 2, "it has its turn")
}

// TestOutlierEjectionCountsWhateverIsNotOK: it knows nothing of what an answer
// says, neither that it is the caller's fault nor that the replica is well.
func TestOutlierEjectionCountsWhateverIsNotOK(t *testing.T) {
	for _, reason := range []apierror.Reason{apierror.ReasonNotFound, apierror.ReasonDraining} {
		t.Run(string(reason), func(t *testing.T) {
			f := newFleet(t, 3)
			one := f.replicas()[0]
			one.shop.refuse.Store(apierror.New(reason, "no"))
			client := ordersv1.NewOrdersServiceClient(f.dial(nil, quicker()))
			awaitEjection(t, client, one)
		})
	}
}

// TestOutlierEjectionLeavesMostReplicas: where all of them fail, it is not one
// that is bad. Were they all left out, nobody would notice that they are well again.
func TestOutlierEjectionLeavesMostReplicas(t *testing.T) {
	f := newFleet(t, 3)
	all := f.replicas()
	for _, r := range all {
		r.shop.refuse.Store(broken)
	}
	client := ordersv1.NewOrdersServiceClient(f.dial(nil, quicker()))
	leftOut := func() (n int) {
		var before []int64
		for _, r := range all {
			before = append(before, r.shop.calls.Load())
		}
		ask(t, client, 12)
		for i, r := range all {
			if r.shop.calls.Load() == before[i] {
				n++
			}
		}
		return n
	}
	eventually(t, func() bool { return leftOut() == 0 }, "all are connected to")
	eventually(t, func() bool { return leftOut() == 1 }, "one is left out")
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; { // two more times it could have been decided so
		require.LessOrEqual(t, leftOut(), 1)
	}
	for _, r := range all {
		r.shop.refuse.Store(nil)
	}
	require.Zero(t, ask(t, client, 100), "and all is well at once when they are")
}
