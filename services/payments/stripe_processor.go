package payments

import (
	"context"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
)

// What we write on Stripe's objects, to find them again by.
const (
	// metaPayment is our payment's id.
	metaPayment = "holdfast_payment"
	// metaKey is the idempotency key that began the PaymentIntent, or of a refund.
	metaKey = "holdfast_key"
	// metaCaptureKey is the idempotency key of the capture.
	metaCaptureKey = "holdfast_capture_key"
)

// StripeProcessor moves money through Stripe: a payment is a PaymentIntent that
// is confirmed as it is created, so that a charge is one call.
//
// A key is Stripe's idempotency key as it is ours. Stripe stores the first
// answer for it once it has begun to work, a 500 included: then sending it again
// never tells what happened, and only a lookup does (stripe_lookup.go). What an
// answer means is in stripe_outcome.go.
type StripeProcessor struct {
	client  *stripe.Client
	close   func()
	timeout time.Duration
	horizon time.Duration
	now     func() time.Time
}

// NewStripeProcessor talks to Stripe and waits at most the timeout for each
// operation and each lookup. The dependency is what it is worth; nil calls it
// without breaker or bulkhead. Close it.
func NewStripeProcessor(cfg StripeConfig, timeout time.Duration, dependency *resilience.Dependency) (*StripeProcessor, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	key, err := cfg.secret()
	if err != nil {
		return nil, err
	}
	client, closeIdle := newStripeClient(timeout, dependency)
	return &StripeProcessor{
		client: stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
			URL:               new(cfg.URL),
			HTTPClient:        client,
			MaxNetworkRetries: new(int64(0)),
			EnableTelemetry:   new(false),
			// It would log answers, and those hold what only the payer may know.
			LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		}))),
		close:   closeIdle,
		timeout: timeout,
		horizon: cfg.Horizon,
		now:     time.Now,
	}, nil
}

// Close closes idle connections.
func (s *StripeProcessor) Close() { s.close() }

// Horizon implements [Processor].
func (s *StripeProcessor) Horizon() time.Duration { return s.horizon }

// Authorize implements [Processor].
func (s *StripeProcessor) Authorize(ctx context.Context, key string, r ChargeRequest) (Outcome, error) {
	return s.begin(ctx, Authorize, key, r)
}

// Charge implements [Processor].
func (s *StripeProcessor) Charge(ctx context.Context, key string, r ChargeRequest) (Outcome, error) {
	return s.begin(ctx, Charge, key, r)
}

func (s *StripeProcessor) begin(ctx context.Context, kind Kind, key string, r ChargeRequest) (Outcome, error) {
	amount, ok := toStripe(r.Amount)
	if !ok {
		return Outcome{Verdict: Refused, DeclineCode: codePrecision}, nil
	}
	capture := stripe.PaymentIntentCaptureMethodAutomatic
	if kind == Authorize {
		capture = stripe.PaymentIntentCaptureMethodManual
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:        new(amount),
		Currency:      new(strings.ToLower(r.Amount.Currency)),
		CaptureMethod: new(string(capture)),
		PaymentMethod: new(r.PaymentMethod),
		Description:   new(r.Description),
		Metadata:      map[string]string{metaPayment: r.Payment, metaKey: key},
		Confirm:       new(true),
		// Nobody is there to authenticate or to be sent anywhere: a card that
		// asks for it is declined, which is an outcome, instead of waiting for an
		// action that never comes.
		OffSession:            new(true),
		ErrorOnRequiresAction: new(true),
		AutomaticPaymentMethods: &stripe.PaymentIntentCreateAutomaticPaymentMethodsParams{
			Enabled: new(true), AllowRedirects: new("never"),
		},
	}
	params.SetIdempotencyKey(key)
	return s.operate(ctx, func(ctx context.Context) (Outcome, error) {
		intent, err := s.client.V1PaymentIntents.Create(ctx, params)
		if err != nil {
			return refusal(err)
		}
		return outcomeOfBeginning(kind, intent)
	})
}

// Capture implements [Processor]. What is not captured is released.
func (s *StripeProcessor) Capture(ctx context.Context, key, processorID string, amount money.Amount) (Outcome, error) {
	minor, ok := toStripe(amount)
	if !ok {
		return Outcome{Verdict: Refused, DeclineCode: codePrecision}, nil
	}
	params := &stripe.PaymentIntentCaptureParams{
		AmountToCapture: new(minor),
		Metadata:        map[string]string{metaCaptureKey: key},
	}
	params.SetIdempotencyKey(key)
	return s.operate(ctx, func(ctx context.Context) (Outcome, error) {
		intent, err := s.client.V1PaymentIntents.Capture(ctx, processorID, params)
		if err != nil {
			return refusal(err)
		}
		return outcomeOfCapture(intent)
	})
}

// Void implements [Processor].
func (s *StripeProcessor) Void(ctx context.Context, key, processorID string) (Outcome, error) {
	params := &stripe.PaymentIntentCancelParams{}
	params.SetIdempotencyKey(key)
	return s.operate(ctx, func(ctx context.Context) (Outcome, error) {
		intent, err := s.client.V1PaymentIntents.Cancel(ctx, processorID, params)
		if err != nil {
			return refusal(err)
		}
		return outcomeOfVoid(intent)
	})
}

// Refund implements [Processor].
func (s *StripeProcessor) Refund(ctx context.Context, key, processorID string, amount money.Amount) (Outcome, error) {
	minor, ok := toStripe(amount)
	if !ok {
		return Outcome{Verdict: Refused, DeclineCode: codePrecision}, nil
	}
	params := &stripe.RefundCreateParams{
		PaymentIntent: new(processorID),
		Amount:        new(minor),
		Metadata:      map[string]string{metaKey: key},
	}
	params.SetIdempotencyKey(key)
	return s.operate(ctx, func(ctx context.Context) (Outcome, error) {
		refund, err := s.client.V1Refunds.Create(ctx, params)
		if err != nil {
			return refusal(err)
		}
		return outcomeOfRefund(processorID, refund)
	})
}

// operate bounds what is asked of Stripe. Waiting for it is no load of ours.
func (s *StripeProcessor) operate(ctx context.Context, ask func(context.Context) (Outcome, error)) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer shed.Outside(ctx)()
	return ask(ctx)
}
