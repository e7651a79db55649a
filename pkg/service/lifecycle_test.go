package service

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// eventually waits for a condition that something else brings about.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, 10*time.Second, 5*time.Millisecond, what)
}

func TestStartingReadyAndDrainingAnswerTheirProbes(t *testing.T) {
	i := launch(t, definition(&shop{}), "HOLDFAST_LAME_DUCK", "1s")
	for path, body := range map[string]string{"/startupz": "ready", "/livez": "alive", "/readyz": "ready"} {
		a := get(t, i.Probe, path)
		require.Equal(t, http.StatusOK, a.StatusCode, path)
		require.Equal(t, body, strings.TrimSpace(a.body), path)
	}
	require.Contains(t, get(t, i.Probe, "/statusz").body, `"service": "shop"`)
	require.Contains(t, get(t, i.Probe, "/metrics").body, "holdfast_build_info")
	require.Contains(t, get(t, i.Probe, "/metrics").body, "holdfast_ready 1")
	eventually(t, func() bool {
		return strings.Contains(get(t, i.Probe, "/metrics").body, `holdfast_workers_working{worker="claims"} 1`)
	}, "workers run once ready")

	i.stop()
	eventually(t, func() bool { return get(t, i.Probe, "/readyz").StatusCode == http.StatusServiceUnavailable }, "not ready")
	require.Equal(t, http.StatusOK, get(t, i.Probe, "/livez").StatusCode, "a draining process is alive")
	require.Equal(t, http.StatusOK, get(t, i.Probe, "/startupz").StatusCode)
	require.NoError(t, i.drain())
}

// TestShutdownOrder follows one shutdown from outside and from inside.
func TestShutdownOrder(t *testing.T) {
	var i *instance
	s := &shop{}
	var atClose struct {
		alive, workerStopped bool
	}
	closed := fx.Invoke(func(lifecycle fx.Lifecycle) { // stands for the database pool
		lifecycle.Append(fx.StopHook(func() {
			atClose.alive = get(t, i.Probe, "/livez").StatusCode == http.StatusOK
			atClose.workerStopped = s.worked.stopped.Load() == 1
		}))
	})
	i = launch(t, definition(s, closed), "HOLDFAST_LAME_DUCK", "500ms")
	eventually(t, func() bool { return s.worked.started.Load() == 1 }, "workers run once ready")

	kept := i.client()
	slow := make(chan error, 2)
	go func() {
		_, err := kept.GetOrder(context.Background(), &ordersv1.GetOrderRequest{Id: orderSlow})
		slow <- err
	}()
	eventually(t, func() bool { return s.calls.Load() == 1 }, "a call is in flight")

	i.stop()
	eventually(t, func() bool { return get(t, i.Probe, "/readyz").StatusCode == http.StatusServiceUnavailable }, "step 1")
	conn := i.dial()
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, health.GetStatus())

	// Step 2: the lame duck accepts new connections on both ports.
	_, err = ordersv1.NewOrdersServiceClient(conn).GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine})
	require.NoError(t, err)
	a := i.send(http.MethodGet, "/v1/orders/"+orderSlow, "")
	require.Equal(t, http.StatusOK, a.StatusCode, "begun in the lame duck, finished after it")
	require.True(t, a.Close, "and the connection is not to be used again")

	require.NoError(t, <-slow, "what was in flight finished")
	require.NoError(t, i.drain())
	require.True(t, atClose.workerStopped, "workers stop before what they use is closed")
	require.True(t, atClose.alive, "the probe port outlives everything")
	_, err = net.Dial("tcp", i.Probe)
	require.Error(t, err, "and closes, too")
}

func TestHealthWatchSaysNotServingAndEndsAtDrain(t *testing.T) {
	i := launch(t, definition(&shop{}))
	watch, err := healthpb.NewHealthClient(i.dial()).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "holdfast.orders.v1.OrdersService"})
	require.NoError(t, err)
	r, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, r.GetStatus())

	began := time.Now()
	i.stop()
	r, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, r.GetStatus())
	_, err = watch.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), err)
	require.NoError(t, i.drain())
	require.Less(t, time.Since(began), 3*time.Second, "a watch does not hold the drain")
}

func TestADrainThatCutsSomethingOffIsAnError(t *testing.T) {
	shop := &shop{}
	i := launch(t, definition(shop), "HOLDFAST_DRAIN_CAP", "200ms", "HOLDFAST_LAME_DUCK", "0s")
	s := make(chan error, 1)
	client := i.client()
	go func() {
		_, err := client.GetOrder(context.Background(), &ordersv1.GetOrderRequest{Id: orderStuck})
		s <- err
	}()
	eventually(t, func() bool { return shop.calls.Load() == 1 }, "the call is in flight")
	require.ErrorIs(t, i.drain(), errForced)
	require.Error(t, <-s)
}

func TestSlowClientsAreCutOff(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_READ_HEADER_TIMEOUT", "200ms", "HOLDFAST_READ_TIMEOUT", "300ms")
	for name, test := range map[string]struct{ address, sent string }{
		"headers that never end":    {i.HTTP, "GET /v1/orders HTTP/1.1\r\nHost: x\r\nX-Slow: "},
		"nothing over gRPC":         {i.GRPC, ""},
		"half a preface over gRPC":  {i.GRPC, "PRI * HTTP/2.0\r\n"},
		"a body that does not come": {i.HTTP, "PATCH /v1/orders/" + orderFine + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"},
		"a body that never ends":    {i.HTTP, "PATCH /v1/orders/" + orderFine + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", test.address)
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write([]byte(test.sent))
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
			reader := bufio.NewReader(conn)
			for err == nil {
				_, err = reader.ReadByte()
			}
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was cut by the server, not given up by us")
		})
	}
}

// TestASlowAnswerIsNotASlowClient: the time that a request may take to arrive
// says nothing about how long it may be worked on.
func TestASlowAnswerIsNotASlowClient(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_READ_TIMEOUT", "200ms", "HOLDFAST_READ_HEADER_TIMEOUT", "200ms")
	a := i.send(http.MethodGet, "/v1/orders/"+orderSlow, "")
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	a = i.send(http.MethodPatch, "/v1/orders/"+orderSlow, `{"etag":"1"}`)
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
}

func TestHeadersThatAreTooLarge(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_MAX_HEADER", "2048")
	a := i.send(http.MethodGet, "/v1/orders/"+orderFine, "", "X-Large", strings.Repeat("x", 16<<10))
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, a.StatusCode)
}

func TestWorkersAreStartedAgainAfterAnErrorOrAPanic(t *testing.T) {
	var runs atomic.Int64
	w := &workforce{log: discard, firstPause: time.Millisecond, workers: []Worker{{Name: "clumsy", Run: func(ctx context.Context) error {
		switch runs.Add(1) {
		case 1:
			return errors.New("failed")
		case 2:
			panic("failed badly")
		}
		<-ctx.Done()
		return nil
	}}}}
	w.start(t.Context())
	eventually(t, func() bool { return runs.Load() == 3 }, "third run")
	require.NoError(t, w.stop()(t.Context()))
}

func TestAWorkerThatDoesNotStopIsLeftBehind(t *testing.T) {
	release := make(chan struct{})
	w := &workforce{log: discard, workers: []Worker{{Name: "deaf", Run: func(context.Context) error { <-release; return nil }}}}
	w.start(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, w.stop()(ctx), context.DeadlineExceeded)
	close(release)
}
