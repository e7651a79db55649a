package payments

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// State is where a payment is in its life.
//
//	           ┌─ succeeded ─→ AUTHORIZED ── capture ──→ CAPTURED ── refund of the rest ──→ REFUNDED
//	           │  (authorize)      │                     ↑     │
//	PROCESSING ┼─ succeeded ───────┼─────────────────────┘     └─ refund in part ─→ CAPTURED
//	           │  (charge)         └── void ─────→ VOIDED
//	           ├─ declined ──→ DECLINED
//	           └─ never done ─→ FAILED
//
// A capture is one and the last: what it leaves of the authorization is released.
// Refunds add up to what was captured, not to what was authorized.
//
// Each arrow is an operation at the processor. While its outcome is unknown the
// payment stays where it is and the operation is open: that of PROCESSING is
// the authorization or charge which began the payment. An open operation that
// turns out declined, or never done, leaves an AUTHORIZED or CAPTURED payment as
// it was. There is no arrow from a timeout to FAILED: FAILED means it is known
// that the processor did nothing and will be asked nothing more.
type State string

// The states, as the database has them.
const (
	Processing State = "processing"
	Authorized State = "authorized"
	Captured   State = "captured"
	Declined   State = "declined"
	Voided     State = "voided"
	Refunded   State = "refunded"
	Failed     State = "failed"
)

// Kind is what an operation asks of the processor.
type Kind string

// The kinds of operation, as the database and the derived keys have them.
const (
	Authorize Kind = "authorize"
	Charge    Kind = "charge"
	Capture   Kind = "capture"
	Void      Kind = "void"
	Refund    Kind = "refund"
)

// What a payment refuses, before anything is asked of the processor.
var (
	ErrAmount               = errors.New("amount must be positive")
	ErrWrongState           = errors.New("payment is not in a state that allows this")
	ErrOperationOpen        = errors.New("another operation on the payment is open")
	ErrCurrency             = errors.New("amount is not in the payment's currency")
	ErrExceedsAuthorization = errors.New("the capture would exceed what was authorized")
	ErrExceedsCapture       = errors.New("refunds would exceed what was captured")
)

// Operation is one request to the processor whose outcome is not known yet.
type Operation struct {
	Kind Kind
	// Amount is in minor units of the payment's currency.
	Amount int64
}

// Payment is one attempt to take money from a payment method. At most one
// operation on it is open at a time.
type Payment struct {
	ID            uuid.UUID
	Tenant        string
	Reference     string
	PaymentMethod string
	Amount        money.Amount
	State         State
	// Captured and Refunded are in minor units of Amount's currency.
	Captured    int64
	Refunded    int64
	DeclineCode string
	// ProcessorID is the processor's name of the charge; empty until known.
	ProcessorID string
	// Open is the operation whose outcome is not known, nil if there is none.
	Open       *Operation
	CreateTime time.Time
	UpdateTime time.Time
}

// New begins a payment with an authorization or a charge.
func New(id uuid.UUID, tenant, reference, paymentMethod string, amount money.Amount, kind Kind, now time.Time) (*Payment, error) {
	if amount.Minor <= 0 {
		return nil, ErrAmount
	}
	if kind != Authorize && kind != Charge {
		return nil, fmt.Errorf("begin a payment with %q: %w", kind, ErrWrongState)
	}
	return &Payment{
		ID:            id,
		Tenant:        tenant,
		Reference:     reference,
		PaymentMethod: paymentMethod,
		Amount:        amount,
		State:         Processing,
		Open:          &Operation{Kind: kind, Amount: amount.Minor},
		CreateTime:    now,
		UpdateTime:    now,
	}, nil
}

// BeginCapture opens the capture; of all that is authorized if amount is nil.
func (p *Payment) BeginCapture(amount *money.Amount, now time.Time) error {
	minor, err := p.part(amount, p.Amount.Minor)
	if err != nil {
		return err
	}
	if p.State == Authorized && p.Open == nil && minor > p.Amount.Minor {
		return ErrExceedsAuthorization
	}
	return p.begin(Authorized, Operation{Kind: Capture, Amount: minor}, now)
}

// BeginVoid opens the release of all that is authorized.
func (p *Payment) BeginVoid(now time.Time) error {
	return p.begin(Authorized, Operation{Kind: Void, Amount: p.Amount.Minor}, now)
}

// BeginRefund opens a refund; of everything that is left if amount is nil.
func (p *Payment) BeginRefund(amount *money.Amount, now time.Time) error {
	minor, err := p.part(amount, p.Captured-p.Refunded)
	if err != nil {
		return err
	}
	if p.State == Captured && p.Open == nil && minor > p.Captured-p.Refunded {
		return ErrExceedsCapture
	}
	return p.begin(Captured, Operation{Kind: Refund, Amount: minor}, now)
}

// part is the amount asked for, in minor units of the payment's currency: all if
// it is nil.
func (p *Payment) part(amount *money.Amount, all int64) (int64, error) {
	switch {
	case amount == nil:
		return all, nil
	case amount.Currency != p.Amount.Currency:
		return 0, ErrCurrency
	case amount.Minor <= 0:
		return 0, ErrAmount
	default:
		return amount.Minor, nil
	}
}

func (p *Payment) begin(from State, o Operation, now time.Time) error {
	if p.Open != nil {
		return ErrOperationOpen
	}
	if p.State != from {
		return ErrWrongState
	}
	p.Open, p.DeclineCode = &o, ""
	p.touch(now)
	return nil
}

// Verdict is what is definitely known of an operation.
type Verdict string

// The three things that can be known for certain. That nothing is known is not
// one of them: then the operation stays open.
const (
	// Done: the processor did it.
	Done Verdict = "done"
	// Refused: the processor said no and did nothing.
	Refused Verdict = "refused"
	// NeverDone: the processor never did it and will not be asked again.
	NeverDone Verdict = "never done"
)

// Outcome closes an operation.
type Outcome struct {
	Verdict Verdict
	// ProcessorID is the processor's name of the charge, when Done.
	ProcessorID string
	// DeclineCode is why, when Refused.
	DeclineCode string
}

// Close applies the outcome of the open operation. It returns the entry that
// the ledger needs for it, nil if no money moved.
func (p *Payment) Close(o Outcome, now time.Time) (*Entry, error) {
	if p.Open == nil {
		return nil, fmt.Errorf("close an operation of payment %s: none is open: %w", p.ID, ErrWrongState)
	}
	operation := *p.Open
	p.Open = nil
	p.touch(now)
	if o.Verdict != Done {
		p.DeclineCode = o.DeclineCode
		if p.State == Processing {
			p.State = Failed
			if o.Verdict == Refused {
				p.State = Declined
			}
		}
		return nil, nil
	}
	if o.ProcessorID != "" {
		p.ProcessorID = o.ProcessorID
	}
	switch operation.Kind {
	case Authorize:
		p.State = Authorized
		return nil, nil
	case Void:
		p.State = Voided
		return nil, nil
	case Charge, Capture:
		p.State, p.Captured = Captured, operation.Amount
		return captureEntry(p, operation.Amount, now), nil
	case Refund:
		p.Refunded += operation.Amount
		if p.Refunded == p.Captured {
			p.State = Refunded
		}
		return refundEntry(p, operation.Amount, now), nil
	default:
		return nil, fmt.Errorf("close an operation of unknown kind %q", operation.Kind)
	}
}

// touch moves the update time on, never back: clocks of replicas differ.
func (p *Payment) touch(now time.Time) {
	if now.After(p.UpdateTime) {
		p.UpdateTime = now
	}
}
