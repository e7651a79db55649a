package service

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// load calls the shop over and over in several ways, and counts.
type load struct {
	calls, failures atomic.Int64
	first           sync.Once
	problem         error // the first failure
	stop            chan struct{}
	running         sync.WaitGroup
}

// run repeats call until the load ends.
func (l *load) run(call func(context.Context) error) {
	l.running.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			err := call(ctx)
			cancel()
			l.calls.Add(1)
			if err != nil {
				l.failures.Add(1)
				l.first.Do(func() { l.problem = err })
			}
		}
	})
}

// end stops the load and returns how many calls failed, and the first failure.
func (l *load) end() (int64, error) {
	close(l.stop)
	l.running.Wait()
	return l.failures.Load(), l.problem
}

func newLoad() *load { return &load{stop: make(chan struct{})} }

// ordinary calls on a connection that is kept.
func ordinary(conn *grpc.ClientConn) func(context.Context) error {
	client := ordersv1.NewOrdersServiceClient(conn)
	return func(ctx context.Context) error {
		_, err := client.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderBrief})
		return err
	}
}

// fresh calls on a new connection each time.
func fresh(address func() string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := grpc.NewClient(address(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithPerRPCCredentials(auth.PerRPC(auth.DevelopmentKey)))
		if err != nil {
			return err
		}
		defer conn.Close()
		return ordinary(conn)(ctx)
	}
}

// overHTTP sends requests with the client.
func overHTTP(client *http.Client, address func() string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address()+"/v1/orders/"+orderBrief, http.NoBody)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return status.Error(codes.Unknown, response.Status)
		}
		return nil
	}
}

// admin sends a request to the admin port.
func (i *instance) admin(method string) answerOf {
	i.t.Helper()
	request, err := http.NewRequest(method, "http://"+i.Admin+"/drain", http.NoBody)
	require.NoError(i.t, err)
	return do(i.t, request)
}

// TestASecondDrainEmptiesWhoCameSince: a switch of routes takes a moment, and a
// connection that was made in it would stay.
func TestASecondDrainEmptiesWhoCameSince(t *testing.T) {
	i := start(t, definition(&shop{}))
	require.Equal(t, http.StatusOK, i.admin(http.MethodPost).StatusCode)
	late := i.dial()
	require.NoError(t, ordinary(late)(t.Context()), "a drained process answers whoever comes anyway")
	require.Equal(t, connectivity.Ready, late.GetState())
	require.Equal(t, http.StatusOK, i.admin(http.MethodPost).StatusCode)
	eventually(t, func() bool { return late.GetState() != connectivity.Ready }, "it was told to go elsewhere")
}

// TestDrainAndUndrainUnderLoadLoseNothing swaps the server behind the listener
// while calls of every kind go on.
func TestDrainAndUndrainUnderLoadLoseNothing(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s))
	l := newLoad()
	for range 4 {
		l.run(ordinary(i.dial()))
	}
	l.run(fresh(func() string { return i.GRPC }))
	keeping := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer keeping.CloseIdleConnections()
	l.run(overHTTP(keeping, func() string { return i.HTTP }))
	l.run(overHTTP(lonely, func() string { return i.HTTP }))

	const swaps = 5
	for n := range swaps {
		before := l.calls.Load()
		a := i.admin(http.MethodPost)
		require.Equal(t, http.StatusOK, a.StatusCode, a.body)
		require.Contains(t, a.body, `"draining"`)
		require.Equal(t, http.StatusServiceUnavailable, get(t, i.Probe, "/readyz").StatusCode)
		require.EqualValues(t, n+1, s.worked.stopped.Load(), "workers claim nothing while drained")
		require.Equal(t, http.StatusOK, i.admin(http.MethodPost).StatusCode, "twice is once")
		eventually(t, func() bool { return l.calls.Load() > before+20 }, "who comes anyway is answered")

		a = i.admin(http.MethodDelete)
		require.Equal(t, http.StatusOK, a.StatusCode, a.body)
		require.Equal(t, http.StatusOK, get(t, i.Probe, "/readyz").StatusCode)
		eventually(t, func() bool { return s.worked.started.Load() == int64(n+2) }, "workers run again")
	}
	failures, problem := l.end()
	require.Zero(t, failures, "of %d calls: %v", l.calls.Load(), problem)
	require.Greater(t, l.calls.Load(), int64(100))
}

// TestDrainMovesEstablishedConnectionsAway: that is what it is for.
func TestDrainMovesEstablishedConnectionsAway(t *testing.T) {
	i := start(t, definition(&shop{}))
	watch, err := healthpb.NewHealthClient(i.dial()).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, i.admin(http.MethodPost).StatusCode, "it returned, so the old server is empty")
	for err == nil {
		_, err = watch.Recv()
	}
	require.Equal(t, codes.Unavailable, status.Code(err), err)

	// A client that comes back learns that the process is drained, and when it
	// no longer is.
	watch, err = healthpb.NewHealthClient(i.dial()).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	r, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, r.GetStatus())
	require.Equal(t, http.StatusOK, i.admin(http.MethodDelete).StatusCode)
	r, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, r.GetStatus())
}

func TestADrainedProcessStillShutsDownInOrder(t *testing.T) {
	i := launch(t, definition(&shop{}))
	require.Equal(t, http.StatusOK, i.admin(http.MethodPost).StatusCode)
	require.NoError(t, i.drain())
}

func TestTheAdminPortTurnsWebPagesAway(t *testing.T) {
	i := start(t, definition(&shop{}))
	for _, headers := range []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site"} {
		request, err := http.NewRequest(http.MethodPost, "http://"+i.Admin+"/drain", http.NoBody)
		require.NoError(t, err)
		name, value, _ := strings.Cut(headers, ": ")
		request.Header.Set(name, value)
		require.Equal(t, http.StatusForbidden, do(t, request).StatusCode)
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+i.Admin+"/drain", http.NoBody)
	require.NoError(t, err)
	request.Host = "rebound.example:80"
	require.Equal(t, http.StatusForbidden, do(t, request).StatusCode, "a name that was rebound to loopback")
	require.Equal(t, http.StatusOK, get(t, i.Probe, "/readyz").StatusCode, "nothing was drained")
}
