package payments

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/stripe/stripe-go/v85"
)

// Where a PaymentIntent is looked for that is known by our key only.
const (
	// clockSkew is how far Stripe's clock may lie behind ours, and proofSkew how
	// far when the answer decides.
	clockSkew = 10 * time.Second
	proofSkew = 5 * time.Minute
	// firstSend is for how long after an operation began its first request can
	// still arrive.
	firstSend = time.Minute
	// glance is how many PaymentIntents are read while no answer is a proof.
	glance = 300
	// pageSize is the most that Stripe gives at once.
	pageSize = 100
)

// Lookup implements [Processor].
//
// What happened on a PaymentIntent that we know is read from it. One that we do
// not know the name of is found by what we wrote on it: Stripe has no index of
// idempotency keys, and its search is some time behind (docs.stripe.com/search).
// The list of what was created in a range of time is not, so that:
//
//  1. the time around the first send is listed, and nearly always that is all;
//  2. an operation that was sent later is searched for; what search knows is
//     true, what it does not know says nothing;
//  3. past the horizon, when "no trace" means that it never happened and never
//     will, everything that could be it is listed, however much it is.
//
// Before that, to overlook one does no harm: the same key is sent again, and
// Stripe answers what it did.
func (s *StripeProcessor) Lookup(ctx context.Context, key string, r LookupRequest) (Outcome, error) {
	return s.operate(ctx, func(ctx context.Context) (Outcome, error) {
		switch r.Kind {
		case Capture:
			return s.lookupCapture(ctx, key, r.ProcessorID)
		case Void:
			return s.lookupVoid(ctx, r.ProcessorID)
		case Refund:
			return s.lookupRefund(ctx, key, r.ProcessorID)
		default:
			intent, err := s.findIntent(ctx, key, r.Since)
			if err != nil {
				return Outcome{}, err
			}
			return outcomeOfBeginning(r.Kind, intent)
		}
	})
}

func (s *StripeProcessor) lookupCapture(ctx context.Context, key, id string) (Outcome, error) {
	intent, err := s.intent(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	// The key arrives with the capture. On an intent that is not captured it is
	// what a capture left that came to nothing.
	if intent.Metadata[metaCaptureKey] != key || intent.Status == stripe.PaymentIntentStatusRequiresCapture {
		return Outcome{}, ErrUnknownKey
	}
	return outcomeOfCapture(intent)
}

// lookupVoid cannot tell by whom an intent was cancelled: cancelling takes no
// metadata. Nothing is reserved any more either way, which is what was asked for.
func (s *StripeProcessor) lookupVoid(ctx context.Context, id string) (Outcome, error) {
	intent, err := s.intent(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	if intent.Status != stripe.PaymentIntentStatusCanceled {
		return Outcome{}, ErrUnknownKey
	}
	return outcomeOfVoid(intent)
}

func (s *StripeProcessor) lookupRefund(ctx context.Context, key, id string) (Outcome, error) {
	params := &stripe.RefundListParams{PaymentIntent: new(id)}
	params.Limit = new(int64(pageSize))
	for refund, err := range s.client.V1Refunds.List(ctx, params).All(ctx) {
		if err != nil {
			return Outcome{}, describe(err)
		}
		if refund.Metadata[metaKey] == key {
			return outcomeOfRefund(id, refund)
		}
	}
	return Outcome{}, ErrUnknownKey
}

// intent reads a PaymentIntent; ErrUnknownKey if there is none of that name.
func (s *StripeProcessor) intent(ctx context.Context, id string) (*stripe.PaymentIntent, error) {
	intent, err := s.client.V1PaymentIntents.Retrieve(ctx, id, nil)
	if answered, ok := errors.AsType[*stripe.Error](err); ok &&
		answered.HTTPStatusCode == http.StatusNotFound && answered.Code == stripe.ErrorCodeResourceMissing {
		return nil, ErrUnknownKey
	}
	if err != nil {
		return nil, describe(err)
	}
	return intent, nil
}

// findIntent finds the PaymentIntent that an operation created which began at
// since, or ErrUnknownKey.
func (s *StripeProcessor) findIntent(ctx context.Context, key string, since time.Time) (*stripe.PaymentIntent, error) {
	age := s.now().Sub(since)
	intent, whole, err := s.listed(ctx, key, since.Add(-clockSkew), since.Add(firstSend), glance)
	if intent != nil || err != nil {
		return intent, err
	}
	if whole && age < firstSend {
		return nil, ErrUnknownKey
	}
	if intent, err := s.searched(ctx, key); intent != nil || err != nil {
		return intent, err
	}
	if age < s.horizon {
		return nil, ErrUnknownKey
	}
	intent, _, err = s.listed(ctx, key, since.Add(-proofSkew), since.Add(s.horizon+proofSkew), 0)
	if err == nil && intent == nil {
		err = ErrUnknownKey
	}
	return intent, err
}

// listed looks for the key on what was created between two times, newest first,
// reading at most so many, all if atMost is zero; whole says that it read all.
func (s *StripeProcessor) listed(ctx context.Context, key string, from, to time.Time, atMost int) (found *stripe.PaymentIntent, whole bool, err error) {
	params := &stripe.PaymentIntentListParams{CreatedRange: &stripe.RangeQueryParams{
		GreaterThanOrEqual: from.Unix(), LesserThanOrEqual: to.Unix(),
	}}
	params.Limit = new(int64(pageSize))
	read := 0
	for intent, err := range s.client.V1PaymentIntents.List(ctx, params).All(ctx) {
		if err != nil {
			return nil, false, fmt.Errorf("after %d PaymentIntents: %w", read, describe(err))
		}
		if intent.Metadata[metaKey] == key {
			return intent, false, nil
		}
		if read++; read == atMost {
			return nil, false, nil
		}
	}
	return nil, true, nil
}

// searched asks Stripe's search, and then for the object itself: the copy that
// search has may be old. Not every account has search, so that its failure is as
// if it knew nothing.
func (s *StripeProcessor) searched(ctx context.Context, key string) (*stripe.PaymentIntent, error) {
	params := &stripe.PaymentIntentSearchParams{}
	params.Query = fmt.Sprintf("metadata['%s']:'%s'", metaKey, key) // keys are ours, and have no quotes
	for found, err := range s.client.V1PaymentIntents.Search(ctx, params).All(ctx) {
		if err != nil {
			return nil, ctx.Err()
		}
		if found.Metadata[metaKey] == key {
			return s.intent(ctx, found.ID)
		}
	}
	return nil, nil
}
