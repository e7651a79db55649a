package health

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHealth(t *testing.T) *Health {
	h := New(slog.New(slog.DiscardHandler), "service", "shop", "version", "v1")
	t.Cleanup(h.Close)
	return h
}

// probe returns the status of a probe and what it says.
func probe(h *Health, path string) (int, string) {
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestEachStateAnswersTheThreeQuestions(t *testing.T) {
	h := newHealth(t)
	for _, step := range []struct {
		name                string
		do                  func()
		startup, live, read int
	}{
		{"starting", func() {}, 503, 200, 503},
		{"ready", h.Started, 200, 200, 200},
		{"draining", h.Drain, 200, 200, 503},
		{"ready again", h.Undrain, 200, 200, 200},
	} {
		step.do()
		for path, want := range map[string]int{"/startupz": step.startup, "/livez": step.live, "/readyz": step.read} {
			code, _ := probe(h, path)
			require.Equal(t, want, code, "%s while %s", path, step.name)
		}
	}
}

func TestADrainDuringStartUpHolds(t *testing.T) {
	h := newHealth(t)
	h.Drain()
	h.Started()
	require.False(t, h.Ready())
	require.Equal(t, "draining", h.State())
}

func TestASilentHeartIsStuck(t *testing.T) {
	h := newHealth(t)
	now := time.Now()
	h.now = func() time.Time { return now }
	beat := h.Beat("claims")
	now = now.Add(stuckAfter)
	code, _ := probe(h, "/livez")
	require.Equal(t, http.StatusOK, code, "slow is not stuck")
	now = now.Add(time.Second)
	code, why := probe(h, "/livez")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, why, "claims")
	beat()
	code, _ = probe(h, "/livez")
	require.Equal(t, http.StatusOK, code)
}

func TestADependencyChangesNeitherReadinessNorLiveness(t *testing.T) {
	h := newHealth(t)
	h.Started()
	asked := make(chan struct{}, 1)
	h.Watch(Dependency{Name: "postgres", Interval: time.Hour, Check: func(context.Context) error {
		asked <- struct{}{}
		return errors.New("no route")
	}})
	<-asked
	require.Eventually(t, func() bool {
		_, body := probe(h, "/statusz")
		return strings.Contains(body, "no route")
	}, 5*time.Second, time.Millisecond)
	for _, path := range []string{"/readyz", "/livez", "/startupz"} {
		code, _ := probe(h, path)
		require.Equal(t, http.StatusOK, code, path)
	}
	serving, known, _ := h.status("dependency/postgres")
	require.True(t, known)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, serving)
	serving, _, _ = h.status("")
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, serving)
}

func TestHysteresisThreeDownTwoUp(t *testing.T) {
	w := &watched{dependency: Dependency{Interval: time.Second, Timeout: time.Second}}
	now := time.Now()
	down := errors.New("down")
	for n, step := range []struct {
		err error
		up  bool
	}{
		{nil, true}, // the first answer is believed
		{down, true},
		{down, true},
		{nil, true}, // two are not enough, and a success starts over
		{down, true},
		{down, true},
		{down, false},
		{nil, false},
		{down, false}, // nor is one success
		{nil, false},
		{nil, true},
	} {
		w.record(now, step.err)
		require.Equal(t, step.up, w.up(now), "after check %d", n)
	}
}

func TestAnOldAnswerCountsForNothing(t *testing.T) {
	w := &watched{dependency: Dependency{Interval: time.Second, Timeout: time.Second}}
	now := time.Now()
	w.record(now, nil)
	require.True(t, w.up(now.Add(missedUntilStale*time.Second)))
	require.False(t, w.up(now.Add(time.Minute)))
	require.Equal(t, "unknown", w.word(now.Add(time.Minute)))
}

func TestDependenciesAreCheckedAtIntervalsWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(slog.New(slog.DiscardHandler))
		var checks atomic.Int64
		h.Watch(Dependency{Name: "x", Interval: time.Second, Check: func(context.Context) error { checks.Add(1); return nil }})
		time.Sleep(100 * time.Second) // of the bubble's clock
		require.InDelta(t, 100, checks.Load(), 12)
		h.Close()
	})
}

func TestAPanicInACheckIsAFailure(t *testing.T) {
	err := check(t.Context(), Dependency{Timeout: time.Second, Check: func(context.Context) error { panic("clumsy") }})
	require.ErrorContains(t, err, "clumsy")
}

func TestClosingEndsACheckThatIsUnderWay(t *testing.T) {
	h := New(slog.New(slog.DiscardHandler))
	asked := make(chan struct{})
	h.Watch(Dependency{Name: "slow", Timeout: time.Hour, Check: func(ctx context.Context) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	}})
	<-asked
	h.Close()
}

func TestStatuszTellsEverything(t *testing.T) {
	h := newHealth(t)
	h.Serves("shop.v1.Shop")
	h.Started()
	_, body := probe(h, "/statusz")
	var r report
	require.NoError(t, json.Unmarshal([]byte(body), &r))
	require.Equal(t, "ready", r.State)
	require.Equal(t, "v1", r.About["version"])
	require.Equal(t, []string{"shop.v1.Shop"}, r.Services)
}

// client asks h over gRPC; closing the channel drains the server.
func client(t *testing.T, h *Health, draining <-chan struct{}) healthpb.HealthClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, drainable{stream, WithDraining(stream.Context(), draining)})
	}))
	healthpb.RegisterHealthServer(server, h.GRPC())
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		require.NoError(t, <-done)
	})
	return healthpb.NewHealthClient(conn)
}

type drainable struct {
	grpc.ServerStream
	ctx context.Context
}

func (d drainable) Context() context.Context { return d.ctx }

func TestCheckOverGRPC(t *testing.T) {
	h := newHealth(t)
	h.Serves("shop.v1.Shop")
	c := client(t, h, nil)
	for service, want := range map[string]codes.Code{"": codes.OK, "shop.v1.Shop": codes.OK, "nobody": codes.NotFound, "dependency/nobody": codes.NotFound} {
		r, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		require.Equal(t, want, status.Code(err), service)
		if want == codes.OK {
			require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, r.GetStatus(), "still starting")
		}
	}
	h.Started()
	list, err := c.List(t.Context(), &healthpb.HealthListRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetStatuses(), 2)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, list.GetStatuses()["shop.v1.Shop"].GetStatus())
}

func TestWatchFollowsEveryChangeAndEndsAtDrain(t *testing.T) {
	h := newHealth(t)
	draining := make(chan struct{})
	c := client(t, h, draining)
	watch, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	next := func() healthpb.HealthCheckResponse_ServingStatus {
		r, err := watch.Recv()
		require.NoError(t, err)
		return r.GetStatus()
	}
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, next())
	h.Started()
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, next())
	h.Drain()
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, next())
	h.Undrain()
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, next())
	h.Drain()
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, next())
	close(draining)
	_, err = watch.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
}

func TestWatchOfANameThatComesLater(t *testing.T) {
	h := newHealth(t)
	h.Started()
	watch, err := client(t, h, nil).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "later"})
	require.NoError(t, err)
	r, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVICE_UNKNOWN, r.GetStatus())
	h.Serves("later")
	r, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, r.GetStatus())
}

func TestStatuszAsksForItsDetailsAnew(t *testing.T) {
	h := newHealth(t)
	limit := 1
	h.Show("resources", func() any { h.State(); return map[string]int{"limit": limit} }) // no lock is held
	for limit = range 3 {
		_, body := probe(h, "/statusz")
		var r struct{ Details map[string]map[string]int }
		require.NoError(t, json.Unmarshal([]byte(body), &r))
		require.Equal(t, limit, r.Details["resources"]["limit"])
	}
}
