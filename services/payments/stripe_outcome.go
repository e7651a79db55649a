package payments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/stripe/stripe-go/v85"
)

// outcomeOfBeginning is what a PaymentIntent says about the operation that created it.
func outcomeOfBeginning(kind Kind, intent *stripe.PaymentIntent) (Outcome, error) {
	switch status := intent.Status; {
	case status == stripe.PaymentIntentStatusSucceeded,
		status == stripe.PaymentIntentStatusRequiresCapture && kind == Authorize:
		return Outcome{Verdict: Done, ProcessorID: intent.ID}, nil
	case status == stripe.PaymentIntentStatusRequiresPaymentMethod:
		// The one attempt failed, and nobody else confirms it.
		return Outcome{Verdict: Refused, DeclineCode: declineCode(intent.LastPaymentError)}, nil
	case status == stripe.PaymentIntentStatusCanceled:
		return Outcome{Verdict: Refused, DeclineCode: codeCanceled}, nil
	default:
		return Outcome{}, unfinished(intent)
	}
}

// outcomeOfCapture is what a PaymentIntent says about its capture.
func outcomeOfCapture(intent *stripe.PaymentIntent) (Outcome, error) {
	if intent.Status == stripe.PaymentIntentStatusSucceeded {
		return Outcome{Verdict: Done, ProcessorID: intent.ID}, nil
	}
	return Outcome{}, unfinished(intent)
}

// outcomeOfVoid is what a PaymentIntent says about its cancellation.
func outcomeOfVoid(intent *stripe.PaymentIntent) (Outcome, error) {
	if intent.Status == stripe.PaymentIntentStatusCanceled {
		return Outcome{Verdict: Done, ProcessorID: intent.ID}, nil
	}
	return Outcome{}, unfinished(intent)
}

func unfinished(intent *stripe.PaymentIntent) error {
	if intent.Status == stripe.PaymentIntentStatusProcessing {
		return errPending
	}
	return fmt.Errorf("stripe: PaymentIntent %s is in %q", intent.ID, intent.Status)
}

// outcomeOfRefund is what a refund says about itself. One that is pending can take
// days, while the account's balance is too low for example.
func outcomeOfRefund(processorID string, refund *stripe.Refund) (Outcome, error) {
	switch refund.Status {
	case stripe.RefundStatusSucceeded:
		return Outcome{Verdict: Done, ProcessorID: processorID}, nil
	case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
		return Outcome{Verdict: Refused, DeclineCode: cmp.Or(string(refund.FailureReason), string(refund.Status))}, nil
	case stripe.RefundStatusPending, stripe.RefundStatusRequiresAction:
		return Outcome{}, errPending
	default:
		return Outcome{}, fmt.Errorf("stripe: refund %s is in %q", refund.ID, refund.Status)
	}
}

// refusal tells the errors which say that Stripe did nothing for this request
// and never will from those that say nothing.
//
//	402 card_error                     the card was declined
//	400, 404 invalid_request_error     the request cannot be done
//	idempotency_error                  the key is in use, or did something else: unknown
//	401, 403, 404 of no object         our account or address is set up wrongly: later
//	429, 5xx, anything else            unknown; a 500 is stored and replayed
func refusal(err error) (Outcome, error) {
	answered, ok := errors.AsType[*stripe.Error](err)
	if !ok || !definite(answered) {
		return Outcome{}, describe(err)
	}
	return Outcome{Verdict: Refused, DeclineCode: declineCode(answered)}, nil
}

func definite(e *stripe.Error) bool {
	switch e.Type {
	case stripe.ErrorTypeCard:
		return e.HTTPStatusCode == http.StatusPaymentRequired
	case stripe.ErrorTypeInvalidRequest:
		switch e.HTTPStatusCode {
		case http.StatusBadRequest, http.StatusPaymentRequired:
			return !ours[e.Code]
		case http.StatusNotFound:
			return e.Code == stripe.ErrorCodeResourceMissing // and not an address that there is not
		}
	}
	return false
}

// ours are refusals of our account, not of the request: an operator mends them,
// and then it can be done.
var ours = map[stripe.ErrorCode]bool{
	stripe.ErrorCodeAPIKeyExpired:         true,
	stripe.ErrorCodePlatformAPIKeyExpired: true,
	stripe.ErrorCodeSecretKeyRequired:     true,
	stripe.ErrorCodeLivemodeMismatch:      true,
	stripe.ErrorCodeTestmodeChargesOnly:   true,
	stripe.ErrorCodeRateLimit:             true,
	stripe.ErrorCodeLockTimeout:           true,
	stripe.ErrorCodeIdempotencyKeyInUse:   true,
}

// Decline codes that are not Stripe's own words.
const (
	codePrecision = "amount_precision" // Stripe takes no amount that fine
	codeCanceled  = "canceled"
	codeDeclined  = "card_declined"
)

// words are Stripe's codes for which the API of payments has words already,
// whoever the processor.
var words = map[string]string{
	"payment_intent_unexpected_state": "wrong_state",
	"charge_already_captured":         "wrong_state",
	"charge_already_refunded":         "amount_too_large",
	"resource_missing":                "not_found",
	// The issuer's suspicion is not for the payer to read: Stripe asks to show
	// these as any other decline (docs.stripe.com/declines/codes).
	"generic_decline":    codeDeclined,
	"fraudulent":         codeDeclined,
	"lost_card":          codeDeclined,
	"stolen_card":        codeDeclined,
	"merchant_blacklist": codeDeclined,
}

// declineCode is why Stripe said no.
func declineCode(e *stripe.Error) string {
	if e == nil {
		return codeDeclined
	}
	code := cmp.Or(string(e.DeclineCode), string(e.Code))
	switch {
	case code == string(stripe.ErrorCodeResourceMissing) && e.Param == "payment_method":
		return "unknown_payment_method"
	case code == "" && (e.Param == "amount" || e.Param == "amount_to_capture"):
		return "amount_too_large" // of a refund, there is no code for it
	}
	return cmp.Or(words[code], code, "refused")
}

// describe is an error for logs. The SDK's own text holds the whole answer, with
// the client secret of the PaymentIntent in it.
func describe(err error) error {
	if answered, ok := errors.AsType[*stripe.Error](err); ok {
		text := fmt.Errorf("stripe answered %d %s %s (request %s)", answered.HTTPStatusCode, answered.Type, answered.Code, answered.RequestID)
		if answered.Code == stripe.ErrorCodeIdempotencyKeyInUse {
			return fmt.Errorf("%w: %w", errPending, text)
		}
		return text
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("ask stripe: %w", err)
	}
	for _, known := range []error{context.DeadlineExceeded, context.Canceled, io.ErrUnexpectedEOF, errTooLarge} {
		if errors.Is(err, known) {
			return fmt.Errorf("read stripe's answer: %w", known)
		}
	}
	return errors.New("stripe's answer cannot be read")
}
