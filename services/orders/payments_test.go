package orders

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// fakePayments plays the payments service, which is outside of orders: it keeps
// the promises that orders relies on (one effect for a key, one live payment
// for a reference, never more given back than taken) and breaks down as told.
type fakePayments struct {
	paymentsv1.UnimplementedPaymentsServiceServer

	mu       sync.Mutex
	payments map[string]*paymentsv1.Payment // by id
	answers  map[string]*paymentsv1.Payment // by tenant and key, as first given
	expired  map[string]bool                // by tenant and key
	owners   map[string]string              // id to tenant
	asked    int                            // how often a charge was asked for
	captures int                            // how often money was taken
	refunds  int                            // how often it was given back
	faults   fakeFaults
}

// fakeFaults is what goes wrong, until it is set otherwise.
type fakeFaults struct {
	down         bool          // nothing is answered
	loseAnswers  bool          // writes happen and their answers get lost
	expired      bool          // every key is refused as expired
	leavePending bool          // outcomes stay open until settle
	gate         chan struct{} // charges wait here before anything happens
	reached      chan struct{} // gets one value for each charge at the gate
	charged      bool          // the gate is behind the charge: it has happened, and is not answered
}

func startPayments(t *testing.T) (*fakePayments, string) {
	t.Helper()
	fake := &fakePayments{
		payments: map[string]*paymentsv1.Payment{},
		answers:  map[string]*paymentsv1.Payment{},
		expired:  map[string]bool{},
		owners:   map[string]string{},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	paymentsv1.RegisterPaymentsServiceServer(server, fake)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return fake, "dns:///" + listener.Addr().String()
}

// set changes what goes wrong.
func (f *fakePayments) set(faults fakeFaults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}

// settle ends everything that was left pending, as wanted.
func (f *fakePayments) settle(state paymentsv1.PaymentState) { f.settleAs(state, state) }

// settleAs ends charges and refunds that were left pending, each as wanted.
func (f *fakePayments) settleAs(charges, refunds paymentsv1.PaymentState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.leavePending = false
	for _, p := range f.payments {
		switch {
		case p.State == paymentsv1.PaymentState_PAYMENT_STATE_PROCESSING:
			f.end(p, charges)
		case p.PendingOperation == paymentsv1.PendingOperation_PENDING_OPERATION_REFUND:
			p.PendingOperation = paymentsv1.PendingOperation_PENDING_OPERATION_UNSPECIFIED
			f.end(p, refunds)
		}
	}
}

func (f *fakePayments) end(p *paymentsv1.Payment, state paymentsv1.PaymentState) {
	if p.State == state {
		return
	}
	p.State = state
	switch state {
	case paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED:
		f.captures++
	case paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED:
		f.refunds++
	case paymentsv1.PaymentState_PAYMENT_STATE_DECLINED:
		p.DeclineCode = "card_declined"
	}
}

// counts returns how often money was taken and given back.
func (f *fakePayments) counts() (captures, refunds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.captures, f.refunds
}

var errLost = status.Error(codes.Unavailable, "the connection broke")

func (f *fakePayments) ChargePayment(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
	f.mu.Lock()
	f.asked++
	faults := f.faults
	f.mu.Unlock()
	if !faults.charged {
		if err := faults.wait(ctx); err != nil {
			return nil, err
		}
	}
	p, err := f.write(ctx, func(tenant string) (*paymentsv1.Payment, error) {
		for id, other := range f.payments {
			if f.owners[id] == tenant && other.Reference == r.GetReference() && other.State != paymentsv1.PaymentState_PAYMENT_STATE_DECLINED {
				return nil, apierror.New(apierror.ReasonAlreadyExists, "the reference has a payment")
			}
		}
		p := &paymentsv1.Payment{
			Id: uuid.NewString(), Reference: r.GetReference(), Amount: r.GetAmount(), CreateTime: timestamppb.Now(),
			State: paymentsv1.PaymentState_PAYMENT_STATE_PROCESSING,
		}
		f.payments[p.Id], f.owners[p.Id] = p, tenant
		switch {
		case f.faults.leavePending:
		case r.GetPaymentMethod() == "pm_card_declined":
			f.end(p, paymentsv1.PaymentState_PAYMENT_STATE_DECLINED)
		default:
			f.end(p, paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED)
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	if faults.charged {
		if err := faults.wait(ctx); err != nil {
			return nil, err
		}
	}
	return &paymentsv1.ChargePaymentResponse{Payment: p}, nil
}

// wait holds a charge at the gate, if there is one.
func (f fakeFaults) wait(ctx context.Context) error {
	if f.gate == nil {
		return nil
	}
	f.reached <- struct{}{}
	select {
	case <-f.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakePayments) RefundPayment(ctx context.Context, r *paymentsv1.RefundPaymentRequest) (*paymentsv1.RefundPaymentResponse, error) {
	p, err := f.write(ctx, func(tenant string) (*paymentsv1.Payment, error) {
		p := f.payments[r.GetId()]
		switch {
		case p == nil || f.owners[r.GetId()] != tenant:
			return nil, apierror.New(apierror.ReasonNotFound, "there is no such payment")
		case p.State != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED ||
			p.PendingOperation != paymentsv1.PendingOperation_PENDING_OPERATION_UNSPECIFIED:
			return nil, apierror.New(apierror.ReasonWrongState, "nothing to give back")
		case f.faults.leavePending:
			p.PendingOperation = paymentsv1.PendingOperation_PENDING_OPERATION_REFUND
		default:
			f.end(p, paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED)
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return &paymentsv1.RefundPaymentResponse{Payment: p}, nil
}

// write performs an effect once for a key and repeats its first answer after.
func (f *fakePayments) write(ctx context.Context, effect func(tenant string) (*paymentsv1.Payment, error)) (*paymentsv1.Payment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tenant, key := one(ctx, "holdfast-act-as-tenant"), one(ctx, "idempotency-key")
	switch {
	case f.faults.down:
		return nil, errLost
	case tenant == "" || key == "":
		return nil, apierror.New(apierror.ReasonInvalidField, "orders must say for whom and under which key")
	}
	first, replay := f.answers[tenant+" "+key]
	switch {
	case replay:
		return proto.CloneOf(first), nil
	case f.faults.expired, f.expired[tenant+" "+key]:
		return nil, apierror.New(apierror.ReasonKeyExpired, "the key has expired")
	}
	p, err := effect(tenant)
	if err != nil {
		return nil, err
	}
	f.answers[tenant+" "+key] = proto.CloneOf(p)
	if f.faults.loseAnswers {
		return nil, errLost
	}
	return proto.CloneOf(p), nil
}

func (f *fakePayments) GetPayment(ctx context.Context, r *paymentsv1.GetPaymentRequest) (*paymentsv1.GetPaymentResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.payments[r.GetId()]
	switch {
	case f.faults.down:
		return nil, errLost
	case p == nil || f.owners[r.GetId()] != one(ctx, "holdfast-act-as-tenant"):
		return nil, apierror.New(apierror.ReasonNotFound, "there is no such payment")
	}
	return &paymentsv1.GetPaymentResponse{Payment: proto.CloneOf(p)}, nil
}

func (f *fakePayments) ListPayments(ctx context.Context, r *paymentsv1.ListPaymentsRequest) (*paymentsv1.ListPaymentsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults.down {
		return nil, errLost
	}
	response := &paymentsv1.ListPaymentsResponse{}
	for id, p := range f.payments {
		if f.owners[id] == one(ctx, "holdfast-act-as-tenant") && p.Reference == r.GetReference() {
			response.Payments = append(response.Payments, proto.CloneOf(p))
		}
	}
	return response, nil
}

// charges returns how often a charge was asked for, answered or not.
func (f *fakePayments) charges() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// expireKeys forgets every answer given so far: its key is refused from now on.
func (f *fakePayments) expireKeys() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.answers {
		f.expired[key] = true
	}
	clear(f.answers)
}

// add records a payment that a tenant made by itself.
func (f *fakePayments) add(tenant string, p *paymentsv1.Payment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.payments[p.GetId()], f.owners[p.GetId()] = p, tenant
}

// refundPending reports whether a refund is under way.
func (f *fakePayments) refundPending() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.payments {
		if p.GetPendingOperation() == paymentsv1.PendingOperation_PENDING_OPERATION_REFUND {
			return true
		}
	}
	return false
}

func one(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) == 1 {
		return values[0]
	}
	return ""
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 20*time.Second, 5*time.Millisecond, what)
}
