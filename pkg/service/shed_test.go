package service

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// roomForOne are the settings of a service that works on one call, and lets none
// wait.
func roomForOne() []string {
	return []string{"HOLDFAST_SHED_MIN", "1", "HOLDFAST_SHED_INITIAL", "1", "HOLDFAST_SHED_MAX", "1", "HOLDFAST_SHED_MAX_WAIT", "0s"}
}

// full starts a service with room for one call, and takes it. What it returns
// makes room again.
func full(t *testing.T) (*instance, func()) {
	t.Helper()
	i := start(t, definition(&shop{}), roomForOne()...)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	client := i.client()
	var stuck sync.WaitGroup
	stuck.Go(func() {
		for ctx.Err() == nil { // the test's own calls may be there first
			_, _ = client.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderStuck})
		}
	})
	return i, func() { cancel(); stuck.Wait() }
}

func reasonOf(err error) apierror.Reason {
	reason, _ := apierror.ReasonOf(err)
	return reason
}

func TestAnOverloadedServiceShedsAndStaysVisible(t *testing.T) {
	i, release := full(t)
	client := i.client()
	ask := func() error {
		_, err := client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine})
		return err
	}
	eventually(t, func() bool { return reasonOf(ask()) == apierror.ReasonOverloaded }, "the one place is taken")
	require.Positive(t, apierror.From(ask()).RetryAfter())

	t.Run("over HTTP too, with Retry-After", func(t *testing.T) {
		a := i.send(http.MethodGet, "/v1/orders/"+orderFine, "")
		require.Equal(t, http.StatusServiceUnavailable, a.StatusCode, a.body)
		require.Contains(t, a.body, "OVERLOADED")
		seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, seconds)
	})
	t.Run("behind auth: who has no credential outranks nobody", func(t *testing.T) {
		conn, err := grpc.NewClient(i.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		defer conn.Close()
		_, err = ordersv1.NewOrdersServiceClient(conn).GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine})
		require.Equal(t, apierror.ReasonCredentialsMissing, reasonOf(err))
	})
	t.Run("before validation and keys, which cost", func(t *testing.T) {
		_, err := client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: "not an id"})
		require.Equal(t, apierror.ReasonOverloaded, reasonOf(err))
		_, err = client.CreateOrder(t.Context(), &ordersv1.CreateOrderRequest{})
		require.Equal(t, apierror.ReasonOverloaded, reasonOf(err), "without a key")
	})
	t.Run("health, reflection, probes and the admin port answer", func(t *testing.T) {
		conn := i.dial()
		h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		require.Equal(t, healthpb.HealthCheckResponse_SERVING, h.GetStatus())
		stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
		}))
		_, err = stream.Recv()
		require.NoError(t, err)
		for _, path := range []string{"/livez", "/readyz", "/startupz"} {
			require.Equal(t, http.StatusOK, get(t, i.Probe, path).StatusCode, path)
		}
		require.Equal(t, http.StatusOK, get(t, i.Admin, "/debug/pprof/cmdline").StatusCode)
	})
	t.Run("and tell", func(t *testing.T) {
		require.Regexp(t, `"shedding": true`, get(t, i.Probe, "/statusz").body)
		metrics := get(t, i.Probe, "/metrics").body
		require.Regexp(t, `holdfast_shed_requests_total\{criticality="critical",outcome="shed",.*reason="queue_full".*\} [1-9]`, metrics)
		require.Contains(t, metrics, "holdfast_shed_limit 1\n")
		require.Contains(t, metrics, "holdfast_shed_inflight 1\n")
		require.Equal(t, 1, i.logs.Count("shedding load: "), i.logs)
	})
	release()
	eventually(t, func() bool { return ask() == nil }, "there is room again")
}

// TestSheddingCanBeTurnedOff: with settings that leave room for one call, any
// number are let in. That the same settings refuse the second is what
// TestAnOverloadedServiceShedsAndStaysVisible begins with.
func TestSheddingCanBeTurnedOff(t *testing.T) {
	var inside atomic.Int64
	s := &shop{ids: func(id string) {
		if id == orderStuck {
			inside.Add(1)
		}
	}}
	i := start(t, definition(s), append(roomForOne(), "HOLDFAST_SHED_ENABLED", "false")...)
	client := i.client()
	ctx, cancel := context.WithCancel(t.Context())
	var stuck sync.WaitGroup
	defer stuck.Wait()
	defer cancel()
	const calls = 5
	for range calls {
		stuck.Go(func() { _, _ = client.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderStuck}) })
	}
	eventually(t, func() bool { return inside.Load() == calls }, "all are let in")
	for range 20 {
		_, err := client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine})
		require.NoError(t, err)
	}
	require.NotContains(t, get(t, i.Probe, "/statusz").body, `"shedding"`)
	require.NotContains(t, get(t, i.Probe, "/metrics").body, "holdfast_shed_limit")
}

func TestSheddingIsToldAllThatIsWrongAtOnce(t *testing.T) {
	_, err := run(t, definition(&shop{}), environment("HOLDFAST_SHED_MIN", "0", "HOLDFAST_SHED_MAX_WAIT", "1h", "HOLDFAST_DRAIN_CAP", "0s"))
	for _, wanted := range []string{"HOLDFAST_SHED_MIN", "HOLDFAST_SHED_MAX_WAIT", "HOLDFAST_DRAIN_CAP"} {
		require.ErrorContains(t, err, wanted)
	}
}
