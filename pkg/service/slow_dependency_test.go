package service

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// hanging is a payments service that answers nothing until its caller gives up.
type hanging struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	inside atomic.Int64
}

// GetPayment hangs.
func (h *hanging) GetPayment(ctx context.Context, _ *paymentsv1.GetPaymentRequest) (*paymentsv1.GetPaymentResponse, error) {
	h.inside.Add(1)
	defer h.inside.Add(-1)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (h *hanging) serve(t *testing.T) (target string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	paymentsv1.RegisterPaymentsServiceServer(server, h)
	healthpb.RegisterHealthServer(server, healthgrpc.NewServer()) // it says that it is well
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return listener.Addr().String()
}

// buyer is a service that asks payments about one of its orders, and needs nothing
// of it for the others.
type buyer struct {
	*instance
	payments *hanging
}

func startBuyer(t *testing.T, cfg resilience.Config, changes ...string) *buyer {
	t.Helper()
	b := &buyer{payments: &hanging{}}
	target := b.payments.serve(t)
	s := &shop{}
	connect := fx.Invoke(func(lifecycle fx.Lifecycle, dependencies *resilience.Registry) error {
		policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().ByName("PaymentsService"))
		if err != nil {
			return err
		}
		dependency, err := dependencies.Add("payments", cfg, policies)
		if err != nil {
			return err
		}
		conn, err := Dial(target, dependency, "")
		if err != nil {
			return err
		}
		lifecycle.Append(fx.StopHook(conn.Close))
		s.payments = paymentsv1.NewPaymentsServiceClient(conn)
		return nil
	})
	b.instance = start(t, definition(s, connect), changes...)
	return b
}

// roomFor is a dependency of which only the bulkhead is of interest here: each call
// is one attempt, which hangs for as long as the method may take.
func roomFor(calls int) resilience.Config {
	cfg := resilience.Defaults()
	cfg.MaxConcurrent, cfg.MaxWait = calls, 10*time.Millisecond
	cfg.MaxAttempts, cfg.AttemptPart = 1, 1
	cfg.BreakerMinCalls = 1_000_000
	return cfg
}

const unbounded = 1_000_000

// siege is callers, over both protocols, of what hangs: many times what the
// bulkhead has room for, and what one connection has.
type siege struct {
	grpc   *grpc.ClientConn // theirs
	client *http.Client
	stop   context.CancelFunc
	lifted sync.WaitGroup

	mu      sync.Mutex
	reasons map[apierror.Reason]int // of the answers they got
}

const (
	besiegers = 48 // over each of the two
	streams   = 8  // calls on one connection
	bulkhead  = 4
	patience  = 5 * time.Second // of a caller; the timeout of the method that hangs is 2 s
)

func (b *buyer) besiege(t *testing.T, callers int) *siege {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background()) // ends in the cleanup, which waits for the callers
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	s := &siege{grpc: b.dial(), client: &http.Client{Transport: transport}, stop: stop, reasons: map[apierror.Reason]int{}}
	t.Cleanup(func() {
		stop()
		s.lifted.Wait()
		transport.CloseIdleConnections()
	})
	client := ordersv1.NewOrdersServiceClient(s.grpc)
	for range callers {
		s.repeat(ctx, func() (apierror.Reason, error) {
			_, err := client.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderPaid})
			reason, _ := apierror.ReasonOf(err)
			return reason, nil
		})
		s.repeat(ctx, func() (apierror.Reason, error) { return s.overHTTP(ctx, b.HTTP, "/v1/orders/"+orderPaid) })
	}
	return s
}

// repeat has one caller ask until the siege ends.
func (s *siege) repeat(ctx context.Context, ask func() (apierror.Reason, error)) {
	s.lifted.Go(func() {
		for ctx.Err() == nil {
			reason, err := ask()
			if ctx.Err() != nil {
				return // whatever that was, it is ours
			}
			if err != nil {
				reason = apierror.Reason(err.Error())
			}
			s.mu.Lock()
			s.reasons[reason]++
			s.mu.Unlock()
			wait(ctx, 500*time.Millisecond)
		}
	})
}

// overHTTP asks for a path, and returns the reason of the answer; none if it is OK.
func (s *siege) overHTTP(ctx context.Context, address, path string) (apierror.Reason, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	response, err := s.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return "", err
	}
	var problem apierror.Problem
	if err := json.Unmarshal(body, &problem); err != nil {
		return "", errors.New("no problem, but " + string(body))
	}
	return problem.Reason, nil
}

// others calls methods that need nothing of payments, over the very connections
// of those who wait for it, and returns what of them failed.
func (s *siege) others(t *testing.T, b *buyer) map[string]error {
	t.Helper()
	failed := map[string]error{}
	var mu sync.Mutex
	note := func(way string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed[way] = err
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := ordersv1.NewOrdersServiceClient(s.grpc)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			_, err := client.ListOrders(ctx, &ordersv1.ListOrdersRequest{})
			note("gRPC", err)
		})
		asking.Go(func() {
			reason, err := s.overHTTP(ctx, b.HTTP, "/v1/orders")
			if reason != "" {
				err = errors.New(string(reason))
			}
			note("HTTP", err)
		})
	}
	asking.Wait()
	return failed
}

func (s *siege) answers() map[apierror.Reason]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[apierror.Reason]int{}
	for reason, n := range s.reasons {
		got[reason] = n
	}
	return got
}

// TestAHangingDependencyTakesNoOtherMethod: those who need it are told, in time
// and by a reason, and those who do not need it notice nothing.
func TestAHangingDependencyTakesNoOtherMethod(t *testing.T) {
	b := startBuyer(t, roomFor(bulkhead), "HOLDFAST_MAX_STREAMS", strconv.Itoa(streams))
	s := b.besiege(t, besiegers)
	eventually(t, func() bool { return b.payments.inside.Load() >= bulkhead }, "the bulkhead is full")
	for range 10 {
		require.Empty(t, s.others(t, b))
	}
	eventually(t, func() bool {
		got := s.answers()
		return got[apierror.ReasonOverloaded] > besiegers && got[apierror.ReasonDeadline] > 0
	}, "answers of those who found it full, and of those who waited")
	for reason := range s.answers() {
		require.Contains(t, []apierror.Reason{apierror.ReasonOverloaded, apierror.ReasonDeadline}, reason, s.answers())
	}
}

// TestWithoutABulkheadAHangingDependencyTakesAllMethods is the control: the calls
// that hang fill the connection, that of the gateway too, which is the only one it
// has, and nobody else's gets through.
func TestWithoutABulkheadAHangingDependencyTakesAllMethods(t *testing.T) {
	b := startBuyer(t, roomFor(unbounded), "HOLDFAST_MAX_STREAMS", strconv.Itoa(streams))
	s := b.besiege(t, besiegers)
	eventually(t, func() bool { return b.payments.inside.Load() >= 2*streams }, "both connections are full")
	failed := s.others(t, b)
	require.Contains(t, failed, "gRPC")
	require.Contains(t, failed, "HTTP")
}

// TestAHangingDependencyTakesNoPlaceOfTheShedder: who waits for another service
// keeps nothing here busy, so that more can wait than may be in flight. It is Dial
// that tells the shedder.
func TestAHangingDependencyTakesNoPlaceOfTheShedder(t *testing.T) {
	const places = 2
	b := startBuyer(t, roomFor(unbounded), "HOLDFAST_SHED_MIN", "2", "HOLDFAST_SHED_INITIAL", "2", "HOLDFAST_SHED_MAX", "2")
	s := b.besiege(t, 10*places)
	eventually(t, func() bool { return b.payments.inside.Load() > 5*places }, "far more calls wait than there are places")
	eventually(t, func() bool { return len(s.others(t, b)) == 0 }, "and others get one")
}
