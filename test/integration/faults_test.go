package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/services/sandbox"
	"github.com/holdfast-dev/holdfast/test/invariants"
)

const (
	paid    = ordersv1.OrderState_ORDER_STATE_PAID
	pending = ordersv1.OrderState_ORDER_STATE_PENDING_PAYMENT
	failed  = ordersv1.OrderState_ORDER_STATE_PAYMENT_FAILED
)

// await waits for a condition that other processes bring about.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if condition() {
		return
	}
	require.Eventually(t, condition, time.Minute, 20*time.Millisecond, what)
}

// await waits until an order of acme reaches a state.
func (p *platform) await(t *testing.T, id string, want ordersv1.OrderState) {
	t.Helper()
	await(t, fmt.Sprintf("order %s becomes %s", id, want), func() bool {
		got, err := p.orders.GetOrder(p.as(t.Context(), p.tenant), &ordersv1.GetOrderRequest{Id: id}, grpc.WaitForReady(true))
		return err == nil && got.GetOrder().GetState() == want
	})
}

// requireSound waits until nothing is under way and holds everything that the
// services and the processor know to the platform's invariants.
func (p *platform) requireSound(t *testing.T) {
	t.Helper()
	sources := invariants.Sources{
		Orders: p.ordersDB, Payments: p.paymentsDB, SandboxURL: "http://" + p.sandboxProcess.http,
	}
	quiet, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	require.NoError(t, invariants.AwaitQuiescence(quiet, sources))
	result, err := invariants.Check(t.Context(), sources)
	require.NoError(t, err)
	for _, violation := range result.Violations {
		t.Error(violation)
	}
	require.Positive(t, result.Audited.Orders)
}

// ended is how an order was answered, and how it must end.
type ended struct {
	card  string
	first *ordersv1.Order
	want  ordersv1.OrderState
	err   error
}

// TestWhateverTheProcessorDoesAnOrderEndsOnce places an order with every card
// that the processor knows, most of which stand for a way to fail.
func TestWhateverTheProcessorDoesAnOrderEndsOnce(t *testing.T) {
	t.Parallel()
	p := start(t)
	var group sync.WaitGroup
	placed := make(chan ended, len(sandbox.PaymentMethods))
	for card, fault := range sandbox.PaymentMethods {
		want := paid // whatever went wrong the first time, the charge is found or made again
		if fault.Kind == sandbox.FaultDecline {
			want = failed
		}
		group.Go(func() {
			r := fine()
			r.PaymentMethod = card
			created, err := p.orders.CreateOrder(p.as(t.Context(), p.tenant), r)
			placed <- ended{card, created.GetOrder(), want, err}
		})
	}
	group.Wait()
	close(placed)
	for order := range placed {
		require.NoError(t, order.err, order.card)
		require.Contains(t, []ordersv1.OrderState{order.want, pending}, order.first.GetState(), order.card)
		p.await(t, order.first.GetId(), order.want)
	}
	p.requireSound(t)
}

// TestKilledAtAnyMomentNothingIsLost kills each service while orders are on
// their way through it, and starts it again.
func TestKilledAtAnyMomentNothingIsLost(t *testing.T) {
	t.Parallel()
	p := start(t)
	for name, victim := range map[string]*process{
		"orders": p.ordersProcess, "payments": p.paymentsProcess, "sandbox": p.sandboxProcess,
	} {
		t.Run(name, func(t *testing.T) {
			const several = 4
			keys, requests := make([]string, several), make([]*ordersv1.CreateOrderRequest, several)
			sent := make(chan struct{}, several)
			for i := range several {
				keys[i], requests[i] = idempotency.NewKey().String(), fine()
				requests[i].PaymentMethod = "pm_card_slow" // a second at the processor
				requests[i].ShippingNote = fmt.Sprintf("%s %d", name, i)
				go func() {
					// Whether it is answered depends on who dies.
					_, _ = p.orders.CreateOrder(p.asWith(t.Context(), p.tenant, keys[i]), requests[i])
					sent <- struct{}{}
				}()
			}
			require.Eventually(t, func() bool {
				var open int
				err := p.paymentsDB.QueryRow(t.Context(), `SELECT count(*) FROM payments WHERE state = 'processing'`).Scan(&open)
				return err == nil && open > 0
			}, 10*time.Second, time.Millisecond, "no charge is on its way")
			victim.kill(t)
			for range several {
				<-sent
			}
			victim.start(t)
			for i := range several {
				p.await(t, p.retry(t, keys[i], requests[i]), paid)
			}
		})
	}
	p.requireSound(t)
}
