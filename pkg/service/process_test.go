package service

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/localport"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// pair is two replicas of the service, as processes, and ways to reach them.
type pair struct {
	leaving, staying *child
	mu               sync.Mutex
	ready            []string // HTTP addresses of the replicas that said they are
}

func newPair(t *testing.T, changes ...string) *pair {
	t.Helper()
	return &pair{leaving: spawn(t, changes...), staying: spawn(t)}
}

// dial connects to both replicas as services connect to each other.
func (p *pair) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	both := manual.NewBuilderWithScheme("pair")
	both.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: p.leaving.GRPC}, {Addr: p.staying.GRPC}}})
	conn, err := Dial("pair:///shop", nil, auth.DevelopmentKey, grpc.WithResolvers(both))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// balance asks both replicas whether they are ready, as a load balancer does,
// until the test ends.
func (p *pair) balance(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	p.poll(ctx)
	asking.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.poll(ctx)
			}
		}
	})
	t.Cleanup(func() { stop(); asking.Wait() })
}

func (p *pair) poll(ctx context.Context) {
	var ready []string
	for _, c := range []*child{p.leaving, p.staying} {
		code, _, err := localport.Ask(ctx, http.MethodGet, c.Probe, "/readyz")
		if err == nil && code == http.StatusOK {
			ready = append(ready, c.HTTP)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Where nobody is ready a balancer asks those it knew: a probe that was late is
	// more likely than a service that is gone.
	if len(ready) > 0 {
		p.ready = ready
	}
}

// next is a replica that was ready when it was last asked.
func (p *pair) next() func() string {
	var n atomic.Int64
	return func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.ready[int(n.Add(1))%len(p.ready)]
	}
}

// TestSIGTERMUnderLoadLosesNothing is the promise of the whole package: calls
// of all kinds go on while one of two replicas is told to stop, and all are
// answered.
func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	p := newPair(t)
	p.balance(t)
	l := newLoad()
	for range 4 {
		l.run(ordinary(p.dial(t)))
	}
	slow := ordersv1.NewOrdersServiceClient(p.dial(t))
	for range 4 { // always some in flight
		l.run(func(ctx context.Context) error {
			_, err := slow.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderSlow})
			return err
		})
	}
	l.run(overHTTP(lonely, p.next()))
	keeping := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer keeping.CloseIdleConnections()
	l.run(overHTTP(keeping, p.next()))

	conn, err := grpc.NewClient(p.leaving.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)

	eventually(t, func() bool { return l.calls.Load() > 100 }, "load")
	require.NoError(t, p.leaving.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.leaving.awaitExit(t, 15*time.Second), p.leaving.stderr)
	for err == nil {
		_, err = watch.Recv() // the stream ended with the drain, and did not hold it
	}
	before := l.calls.Load()
	eventually(t, func() bool { return l.calls.Load() > before+100 }, "the other replica has it all")
	failures, problem := l.end()
	require.Zero(t, failures, "of %d calls: %v", l.calls.Load(), problem)
}

// TestWithoutTheDrainCallsFail is the control: the load notices when servers
// are stopped and not drained.
func TestWithoutTheDrainCallsFail(t *testing.T) {
	t.Setenv("HOLDFAST_TEST_SABOTAGE", "no-drain")
	p := newPair(t)
	l := newLoad()
	slow := ordersv1.NewOrdersServiceClient(p.dial(t))
	for range 8 {
		l.run(func(ctx context.Context) error {
			_, err := slow.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderSlow})
			return err
		})
	}
	eventually(t, func() bool { return l.calls.Load() > 16 }, "load")
	require.NoError(t, p.leaving.Process.Signal(syscall.SIGTERM))
	p.leaving.awaitExit(t, 15*time.Second)
	failures, _ := l.end()
	require.Positive(t, failures, "of %d calls", l.calls.Load())
}

// TestWithoutTheReadinessFlipNewConnectionsFail is the other control: whoever
// asks the probe first still comes to a closed door.
func TestWithoutTheReadinessFlipNewConnectionsFail(t *testing.T) {
	t.Setenv("HOLDFAST_TEST_SABOTAGE", "no-readiness-flip")
	p := newPair(t)
	p.balance(t)
	l := newLoad()
	hold := func(ctx context.Context) error { // keeps the drain from being over at once
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.leaving.HTTP+"/v1/orders/"+orderSlow, http.NoBody)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
		response, err := lonely.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	held := make(chan error, 1)
	for range 4 {
		l.run(overHTTP(lonely, p.next()))
	}
	go func() { held <- hold(context.Background()) }()
	eventually(t, func() bool { return l.calls.Load() > 100 }, "load")
	require.NoError(t, p.leaving.Process.Signal(syscall.SIGTERM))
	p.leaving.awaitExit(t, 15*time.Second)
	failures, _ := l.end()
	require.NoError(t, <-held, "what was in flight is not lost by this")
	require.Positive(t, failures, "of %d calls", l.calls.Load())
}

func TestASecondSignalForcesAndExitsWith1(t *testing.T) {
	c := spawn(t, "HOLDFAST_LAME_DUCK", "60s", "HOLDFAST_DRAIN_CAP", "60s")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	eventually(t, func() bool { return get(t, c.Probe, "/readyz").StatusCode == http.StatusServiceUnavailable }, "draining")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 1, c.awaitExit(t, 5*time.Second), c.stderr)
	require.Contains(t, c.stderr.String(), errSecondSignal.Error())
}

// TestASecondSignalForcesEvenWhenAHandlerIsDeaf: nothing can end the handler
// but the end of the process.
func TestASecondSignalForcesEvenWhenAHandlerIsDeaf(t *testing.T) {
	c := spawn(t, "HOLDFAST_DRAIN_CAP", "60s", "HOLDFAST_LAME_DUCK", "0s")
	conn, err := Dial(c.GRPC, nil, auth.DevelopmentKey)
	require.NoError(t, err)
	defer conn.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := ordersv1.NewOrdersServiceClient(conn).GetOrder(context.Background(), &ordersv1.GetOrderRequest{Id: orderDeaf})
		failed <- err
	}()
	eventually(t, func() bool {
		_, _, err := localport.Ask(t.Context(), http.MethodGet, c.Probe, "/livez")
		return err == nil && conn.GetState().String() == "READY"
	}, "connected")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	eventually(t, func() bool { return get(t, c.Probe, "/readyz").StatusCode == http.StatusServiceUnavailable }, "draining")
	require.NoError(t, c.Process.Signal(os.Interrupt))
	require.Equal(t, 1, c.awaitExit(t, 10*time.Second), c.stderr)
	require.Error(t, <-failed)
}

func TestADrainThatRunsOutOfTimeExitsWith1(t *testing.T) {
	c := spawn(t, "HOLDFAST_DRAIN_CAP", "100ms", "HOLDFAST_LAME_DUCK", "300ms")
	conn, err := Dial(c.GRPC, nil, auth.DevelopmentKey)
	require.NoError(t, err)
	defer conn.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := ordersv1.NewOrdersServiceClient(conn).GetOrder(context.Background(), &ordersv1.GetOrderRequest{Id: orderStuck})
		failed <- err
	}()
	eventually(t, func() bool { return conn.GetState().String() == "READY" }, "connected")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 1, c.awaitExit(t, 10*time.Second), c.stderr)
	require.Error(t, <-failed)
}

func TestMistakesAreOneLineEachAndExitWith1(t *testing.T) {
	c := command(t, "HOLDFAST_ENV", "staging", "HOLDFAST_DRAIN_CAP", "long")
	err := c.Run()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit))
	require.Equal(t, 1, exit.ExitCode())
	require.Equal(t, "HOLDFAST_ENV is \"staging\", must be development or production\n"+
		"HOLDFAST_DRAIN_CAP is \"long\", must be a duration such as 1500ms or 2s\n", c.stderr.String())
}
