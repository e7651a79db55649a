package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is what an operation does to a card.
type Kind string

// The kinds of operation. KindLookup moves nothing and is never recorded; it
// is a kind so that a script can make lookups fail.
const (
	KindAuthorize Kind = "authorize"
	KindCapture   Kind = "capture"
	KindVoid      Kind = "void"
	KindCharge    Kind = "charge"
	KindRefund    Kind = "refund"
	KindLookup    Kind = "lookup"
)

// Status is what became of an operation.
type Status string

// An operation is decided when it is recorded, except one that settles later:
// it reads StatusPending until its settle time and StatusSucceeded from then on.
const (
	StatusSucceeded Status = "succeeded"
	StatusDeclined  Status = "declined"
	StatusPending   Status = "pending"
)

// Operation is one line of the ledger: what a key asked for and what became of
// it. It is written once and never changed.
type Operation struct {
	// Sequence orders the ledger.
	Sequence uint64 `json:"sequence"`
	// Key is the idempotency key it was sent with.
	Key  string `json:"key"`
	Kind Kind   `json:"kind"`
	// Charge names the charge it belongs to: the authorization or charge that
	// opened it is the first operation on it.
	Charge string `json:"charge"`
	// Reference is the client's name of the charge; the payments service sends
	// its payment id.
	Reference   string `json:"reference"`
	Description string `json:"description,omitempty"`
	// Amount is in minor units.
	Amount      int64     `json:"amount"`
	Currency    string    `json:"currency"`
	Status      Status    `json:"status"`
	DeclineCode string    `json:"decline_code,omitempty"`
	CreateTime  time.Time `json:"create_time"`
	// SettleTime is when a delayed operation takes effect; unset if at once.
	SettleTime time.Time `json:"settle_time,omitzero"`
}

// At is the operation as it reads at that time.
func (o Operation) At(now time.Time) Operation {
	if o.Status == StatusPending && !now.Before(o.SettleTime) {
		o.Status = StatusSucceeded
	}
	return o
}

// Request is what a client asks for.
type Request struct {
	Kind          Kind   `json:"-"`
	Charge        string `json:"charge,omitempty"`
	Reference     string `json:"reference,omitempty"`
	Description   string `json:"description,omitempty"`
	Amount        int64  `json:"amount,omitempty"`
	Currency      string `json:"currency,omitempty"`
	PaymentMethod string `json:"payment_method,omitempty"`
}

// validate answers what is wrong with the form of a request, or nil.
func (r Request) validate() error {
	switch r.Kind {
	case KindAuthorize, KindCharge:
		if r.Reference == "" || r.PaymentMethod == "" || r.Charge != "" {
			return refuse("invalid_request", "reference and payment_method are required, charge is not accepted")
		}
		if len(r.Reference) > 200 || len(r.Description) > 200 || !strings.HasPrefix(r.PaymentMethod, "pm_") || len(r.PaymentMethod) > 64 {
			return refuse("invalid_request", "reference, description or payment_method is malformed")
		}
	case KindCapture, KindVoid, KindRefund:
		if r.Charge == "" || r.Reference != "" || r.Description != "" || r.PaymentMethod != "" {
			return refuse("invalid_request", "charge is required, and nothing but amount and currency beside it")
		}
	default:
		return refuse("invalid_request", "unknown operation")
	}
	if r.Kind != KindVoid && (r.Amount <= 0 || len(r.Currency) != 3) {
		return refuse("invalid_request", "amount must be positive minor units and currency three letters")
	}
	return nil
}

// charge is the state of the money on one card, changed by operations.
//
//	authorize → open ── capture ──→ captured ── refund … ──→ captured, less to give back
//	              └──── void ─────→ voided
//	charge ─────────────────────→ captured
type charge struct {
	Reference   string `json:"reference"`
	Description string `json:"description,omitempty"`
	Currency    string `json:"currency"`
	Authorized  int64  `json:"authorized"`
	Captured    int64  `json:"captured"`
	Refunded    int64  `json:"refunded"`
	Voided      bool   `json:"voided"`
	// SettleTime is when the latest delayed operation takes effect. Until then
	// nothing else may be done.
	SettleTime time.Time `json:"settle_time,omitzero"`
}

// open starts the charge that an authorize or charge request asks for.
func open(r Request) charge {
	c := charge{Reference: r.Reference, Description: r.Description, Currency: r.Currency, Authorized: r.Amount}
	if r.Kind == KindCharge {
		c.Captured = r.Amount
	}
	return c
}

// apply changes an existing charge as asked, or refuses.
func (c *charge) apply(r Request, now time.Time) error {
	if now.Before(c.SettleTime) {
		return refuse("charge_pending", "an operation on the charge has not settled")
	}
	if r.Kind != KindVoid && r.Currency != c.Currency {
		return refuse("currency_mismatch", "the charge is in another currency")
	}
	switch r.Kind {
	case KindCapture:
		if c.Voided || c.Captured > 0 {
			return refuse("wrong_state", "the charge was captured or voided")
		}
		if r.Amount > c.Authorized {
			return refuse("amount_too_large", "more than was authorized")
		}
		c.Captured = r.Amount
	case KindVoid:
		if c.Voided || c.Captured > 0 {
			return refuse("wrong_state", "the charge was captured or voided")
		}
		c.Voided = true
	case KindRefund:
		if r.Amount > c.Captured-c.Refunded {
			return refuse("amount_too_large", "more than is left of what was captured")
		}
		c.Refunded += r.Amount
	default:
		return fmt.Errorf("apply %q to a charge", r.Kind)
	}
	return nil
}

// Refusal is a definitive no to a request that is not a decline: nothing
// happened, and the same request will not fare better by being sent again.
type Refusal struct {
	// Code is stable, such as `wrong_state`.
	Code    string
	Message string
}

// Error is the refusal for a log.
func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

func refuse(code, message string) error { return &Refusal{Code: code, Message: message} }

// refusalCode is the code of a refusal, or "" for any other error.
func refusalCode(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}
