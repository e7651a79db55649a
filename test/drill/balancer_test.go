package drill_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/test/drill"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	poll        = 10 * time.Millisecond
	propagation = 200 * time.Millisecond
)

// fakeReplica answers its name to every line, and its probe as it is told.
type fakeReplica struct {
	drill.Replica
	ready    atomic.Bool
	listener net.Listener
}

func startReplica(t *testing.T, name string) *fakeReplica {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &fakeReplica{listener: listener}
	r.ready.Store(true)
	probe := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !r.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // ends when its client closes
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, name)
				}
			}()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done; probe.Close() })
	r.Replica = drill.Replica{Name: name, GRPC: listener.Addr().String(), ReadyURL: probe.URL}
	return r
}

// client is a connection to whom the balancer picked.
type client struct {
	net.Conn
	lines *bufio.Reader
}

// connect connects. A connection that the balancer has reset at once answers
// every question with an error.
func connect(t *testing.T, b *drill.Balancer) *client {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		conn, _ = net.Pipe()
		conn.Close()
		return &client{conn, bufio.NewReader(conn)}
	}
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return &client{conn, bufio.NewReader(conn)}
}

// ask returns the name of the replica on the other end.
func (c *client) ask() (string, error) {
	if _, err := fmt.Fprintln(c, "who?"); err != nil {
		return "", err
	}
	line, err := c.lines.ReadString('\n')
	return line[:max(len(line)-1, 0)], err
}

func balance(t *testing.T, replicas ...*fakeReplica) (*drill.Endpoints, *drill.Balancer) {
	t.Helper()
	endpoints := drill.NewEndpoints(poll, propagation)
	t.Cleanup(endpoints.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, r := range replicas {
		endpoints.Add(r.Replica)
		require.NoError(t, endpoints.Await(ctx, r.Name))
	}
	balancer, err := drill.NewBalancer(t.Context(), endpoints, func(r drill.Replica) string { return r.GRPC }, 1)
	require.NoError(t, err)
	t.Cleanup(balancer.Close)
	return endpoints, balancer
}

func awaitReady(t *testing.T, endpoints *drill.Endpoints, want int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(endpoints.Ready()) == want }, 10*time.Second, time.Millisecond)
}

func TestNewConnectionsGoToReadyReplicasOnlyAndEstablishedOnesStay(t *testing.T) {
	a, b := startReplica(t, "a"), startReplica(t, "b")
	endpoints, balancer := balance(t, a, b)

	established := connect(t, balancer)
	for name := ""; name != "a"; {
		established = connect(t, balancer)
		var err error
		name, err = established.ask()
		require.NoError(t, err)
	}
	a.ready.Store(false)
	awaitReady(t, endpoints, 1)
	for range 20 {
		name, err := connect(t, balancer).ask()
		require.NoError(t, err)
		require.Equal(t, "b", name)
	}
	name, err := established.ask()
	require.NoError(t, err)
	require.Equal(t, "a", name, "an established connection is left alone")
}

func TestAChangeOfReadinessIsPublishedLate(t *testing.T) {
	a := startReplica(t, "a")
	endpoints, balancer := balance(t, a)
	a.ready.Store(false)
	said := time.Now()
	name, err := connect(t, balancer).ask()
	require.NoError(t, err, "the world has not heard of it yet")
	require.Equal(t, "a", name)
	awaitReady(t, endpoints, 0)
	require.GreaterOrEqual(t, time.Since(said), propagation)
}

func TestAConnectionToAReplicaThatIsGoneIsReset(t *testing.T) {
	a := startReplica(t, "a")
	_, balancer := balance(t, a)
	a.listener.Close() // and it still says that it is ready
	_, err := connect(t, balancer).ask()
	require.Error(t, err)
}

func TestAConnectionIsResetWhenNobodyIsReady(t *testing.T) {
	a := startReplica(t, "a")
	endpoints, balancer := balance(t, a)
	endpoints.Remove("a")
	awaitReady(t, endpoints, 0)
	_, err := connect(t, balancer).ask()
	require.Error(t, err)
}

func TestASilentReplicaIsNotReady(t *testing.T) {
	a := startReplica(t, "a")
	endpoints, _ := balance(t, a)
	gone := startReplica(t, "gone")
	gone.ReadyURL = "http://127.0.0.1:1/readyz" // nobody listens there
	endpoints.Add(gone.Replica)
	ctx, cancel := context.WithTimeout(t.Context(), 2*propagation)
	defer cancel()
	require.ErrorIs(t, endpoints.Await(ctx, "gone"), context.DeadlineExceeded)
	require.Len(t, endpoints.Ready(), 1)
}
