package trap

import (
	"context"

	"go.uber.org/fx"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/services/payments"
)

// InOrders sets the trap in a replica of orders.
func (t *Trap) InOrders() fx.Option {
	return fx.Options(traced(t), fx.Decorate(func(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
		return caller{conn, t}
	}))
}

// InPayments sets the trap in a replica of payments.
func (t *Trap) InPayments() fx.Option {
	return fx.Options(traced(t), fx.Decorate(func(inside payments.Processor) payments.Processor {
		return processor{inside, t}
	}))
}

// caller tells of each call to another service.
type caller struct {
	grpc.ClientConnInterface

	trap *Trap
}

// Invoke implements grpc.ClientConnInterface.
func (c caller) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	c.trap.pass(Call, false)
	err := c.ClientConnInterface.Invoke(ctx, method, request, response, options...)
	c.trap.pass(Call, true)
	return err
}

// processor tells of each operation at the card processor.
type processor struct {
	payments.Processor

	trap *Trap
}

func (p processor) around(operate func() (payments.Outcome, error)) (payments.Outcome, error) {
	p.trap.pass(Call, false)
	outcome, err := operate()
	p.trap.pass(Call, true)
	return outcome, err
}

// Authorize implements payments.Processor.
func (p processor) Authorize(ctx context.Context, key string, r payments.ChargeRequest) (payments.Outcome, error) {
	return p.around(func() (payments.Outcome, error) { return p.Processor.Authorize(ctx, key, r) })
}

// Charge implements payments.Processor.
func (p processor) Charge(ctx context.Context, key string, r payments.ChargeRequest) (payments.Outcome, error) {
	return p.around(func() (payments.Outcome, error) { return p.Processor.Charge(ctx, key, r) })
}

// Capture implements payments.Processor.
func (p processor) Capture(ctx context.Context, key, id string, amount money.Amount) (payments.Outcome, error) {
	return p.around(func() (payments.Outcome, error) { return p.Processor.Capture(ctx, key, id, amount) })
}

// Void implements payments.Processor.
func (p processor) Void(ctx context.Context, key, id string) (payments.Outcome, error) {
	return p.around(func() (payments.Outcome, error) { return p.Processor.Void(ctx, key, id) })
}

// Refund implements payments.Processor.
func (p processor) Refund(ctx context.Context, key, id string, amount money.Amount) (payments.Outcome, error) {
	return p.around(func() (payments.Outcome, error) { return p.Processor.Refund(ctx, key, id, amount) })
}
