package payments

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/services/payments/stripetest"
)

// TestWhoWaitsForTheProcessorIsNoLoad: of two calls there is room for one, and the
// one that waits for the processor does not have it.
func TestWhoWaitsForTheProcessorIsNoLoad(t *testing.T) {
	t.Parallel()
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().Get(0))
	require.NoError(t, err)
	processors := map[string]func(url string) (closable, error){
		"sandbox": func(url string) (closable, error) { return NewSandboxProcessor(url, time.Minute, time.Hour, nil) },
		"stripe": func(url string) (closable, error) {
			return NewStripeProcessor(StripeConfig{URL: url, Key: stripetest.Key, Horizon: time.Hour}, time.Minute, nil)
		},
	}
	operations := map[string]func(context.Context, Processor) error{
		"charge": func(ctx context.Context, p Processor) error {
			_, err := p.Charge(ctx, "k1", card("pm_card_ok"))
			return err
		},
		"lookup": func(ctx context.Context, p Processor) error {
			_, err := p.Lookup(ctx, "k1", LookupRequest{Kind: Void, ProcessorID: "ch_1"})
			return err
		},
		"records": func(ctx context.Context, p Processor) error {
			_, _, err := p.Records(ctx, time.Now(), time.Now(), "")
			return err
		},
	}
	for name, connect := range processors {
		for what, operate := range operations {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				waitingIsNoLoad(t, policies, connect, operate)
			})
		}
	}
}

// closable is a processor that can be closed.
type closable interface {
	Processor
	Close()
}

func waitingIsNoLoad(t *testing.T, policies *policy.Set, connect func(string) (closable, error), operate func(context.Context, Processor) error) {
	t.Helper()
	asked, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		// As much of an answer as both understand.
		_, _ = io.WriteString(w, `{"id":"ch_1","status":"succeeded","charge":"ch_1","operations":[{"status":"succeeded","currency":"EUR"}],"data":[]}`)
	}))
	defer slow.Close()
	p, err := connect(slow.URL)
	require.NoError(t, err)
	defer p.Close()
	shedder := shed.New(shed.Config{Enabled: true, Min: 1, Initial: 1, Max: 1}, policies, slog.New(slog.DiscardHandler))
	defer shedder.Close()
	serve := func(work func(context.Context) error) error {
		_, err := shed.UnaryServerInterceptor(shedder)(t.Context(), nil,
			&grpc.UnaryServerInfo{FullMethod: paymentsv1.PaymentsService_ChargePayment_FullMethodName},
			func(ctx context.Context, _ any) (any, error) { return nil, work(ctx) })
		return err
	}

	waited := make(chan error, 1)
	go func() { waited <- serve(func(ctx context.Context) error { return operate(ctx, p) }) }()
	<-asked
	another := serve(func(ctx context.Context) error {
		// The control: a call that works has the place, and there is no other.
		require.Error(t, serve(func(context.Context) error { return nil }))
		return nil
	})
	close(release)
	require.NoError(t, another)
	err = <-waited
	require.True(t, err == nil || errors.Is(err, ErrUnknownKey), "%v", err)
}
