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

// hasty ejects soon, and for a moment only.
func hasty() grpc.DialOption {
	return grpc.WithDefaultServiceConfig(serviceConfig(ejecting(50*time.Millisecond, 200*time.Millisecond)))
}

// avoided reports whether a number of calls get by without the replica.
func avoided(t *testing.T, client ordersv1.OrdersServiceClient, bad *replica) bool {
	t.Helper()
	before := bad.shop.calls.Load()
	ask(t, client, 30)
	return bad.shop.calls.Load() == before
}

// TestOutlierEjectionMakesABadReplicaCostNothing: with the settings that services
// have, without a retry that would hide it. What it costs without ejection is in
// TestWithoutEjectionABadReplicaCostsAThird.
func TestOutlierEjectionMakesABadReplicaCostNothing(t *testing.T) {
	f := newFleet(t, 3)
	bad := f.replicas()[1]
	bad.shop.refuse.Store(broken)
	client := ordersv1.NewOrdersServiceClient(f.dial(nil))

	eventually(t, func() bool { return avoided(t, client, bad) }, "the replica that fails everything is left out")
	before := bad.shop.calls.Load()
	require.Zero(t, ask(t, client, 300), "of 300 calls")
	require.Equal(t, before, bad.shop.calls.Load())
}

// TestOutlierEjectionEndsWhenTheReplicaIsWell, and no earlier for good: while it
// is not well, a few calls are spent on finding that out.
func TestOutlierEjectionEndsWhenTheReplicaIsWell(t *testing.T) {
	f := newFleet(t, 3)
	bad := f.replicas()[1]
	bad.shop.refuse.Store(broken)
	client := ordersv1.NewOrdersServiceClient(f.dial(nil, hasty()))

	for range 2 {
		eventually(t, func() bool { return avoided(t, client, bad) }, "it is left out")
		before := bad.shop.calls.Load()
		eventually(t, func() bool { ask(t, client, 3); return bad.shop.calls.Load() > before }, "and tried again")
	}
	eventually(t, func() bool { return avoided(t, client, bad) }, "and left out, because it still fails")

	bad.shop.refuse.Store(nil)
	before := bad.shop.calls.Load()
	eventually(t, func() bool { ask(t, client, 3); return bad.shop.calls.Load() > before }, "it gets calls again")
	before = bad.shop.calls.Load()
	require.Zero(t, ask(t, client, 300), "of 300 calls")
	require.InDelta(t, 100, bad.shop.calls.Load()-before, 2, "it has its turn")
}

// TestOutlierEjectionCountsWhateverIsNotOK: it knows nothing of what an answer
// says, neither that it is the caller's fault nor that the replica is well.
func TestOutlierEjectionCountsWhateverIsNotOK(t *testing.T) {
	for _, reason := range []apierror.Reason{apierror.ReasonNotFound, apierror.ReasonDraining, apierror.ReasonOverloaded} {
		t.Run(string(reason), func(t *testing.T) {
			f := newFleet(t, 3)
			one := f.replicas()[0]
			one.shop.refuse.Store(apierror.New(reason, "no"))
			client := ordersv1.NewOrdersServiceClient(f.dial(nil, hasty()))
			eventually(t, func() bool { return avoided(t, client, one) }, "it is left out")
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
	client := ordersv1.NewOrdersServiceClient(f.dial(nil, hasty()))
	leftOut := func() (n int) {
		var before []int64
		for _, r := range all {
			before = append(before, r.shop.calls.Load())
		}
		ask(t, client, 30)
		for i, r := range all {
			if r.shop.calls.Load() == before[i] {
				n++
			}
		}
		return n
	}
	eventually(t, func() bool { return leftOut() == 1 }, "one is left out")
	for range 50 {
		require.LessOrEqual(t, leftOut(), 1)
	}
	for _, r := range all {
		r.shop.refuse.Store(nil)
	}
	require.Zero(t, ask(t, client, 100), "and all is well at once when they are")
}
