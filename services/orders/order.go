package orders

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// State is where an order is in its life.
//
//	                 paid
//	PENDING_PAYMENT ──────► PAID
//	   │        │             │
//	   │declined│cancelled    │cancelled
//	   │        ▼             │
//	   │     CANCELLING ◄─────┘
//	   │        │
//	   │        │given back, or nothing was taken
//	   ▼        ▼
//	PAYMENT_FAILED  CANCELLED
//
// Only PENDING_PAYMENT and CANCELLING are undecided: something in the
// background works to end them. PAYMENT_FAILED and CANCELLED are final. A
// cancelled order passes through CANCELLING even when nothing was paid yet,
// because a charge may be on its way, and only payments can say.
type State string

// The states, as they are stored.
const (
	PendingPayment State = "PENDING_PAYMENT"
	Paid           State = "PAID"
	PaymentFailed  State = "PAYMENT_FAILED"
	Cancelling     State = "CANCELLING"
	Cancelled      State = "CANCELLED"
)

// transitions is the drawing above as data: from where to where.
var transitions = map[State][]State{
	PendingPayment: {Paid, PaymentFailed, Cancelling},
	Paid:           {Cancelling},
	Cancelling:     {Cancelled},
}

// StateError says that an order's state does not allow what was asked.
type StateError struct{ From, To State }

// Error names both states.
func (e *StateError) Error() string {
	return fmt.Sprintf("an order in %s cannot become %s", e.From, e.To)
}

var (
	// ErrNotFound says that the tenant has no such order.
	ErrNotFound = errors.New("order not found")
	// ErrStaleEtag says that the order changed since the version that a change
	// was made from.
	ErrStaleEtag = errors.New("the order has changed since")
	// ErrNoLines says that an order has nothing on it.
	ErrNoLines = errors.New("an order needs at least one line")
)

// Line is a product, how many of it, and the price of one when the order was
// placed: a later change of the catalogue does not change the order.
type Line struct {
	ProductID string
	Quantity  int32
	UnitPrice money.Amount
}

// Order is what was ordered and how far it got. Its fields change through its
// methods only; every change counts the version up by one, and the store writes
// a change only over the version before it.
type Order struct {
	id     uuid.UUID
	tenant string
	state  State
	lines  []Line
	total  money.Amount

	paymentMethod string
	chargeKey     string     // the idempotency key of its one charge
	paymentID     *uuid.UUID // once payments has told it
	declineCode   string

	contact    Contact
	version    int64
	editedFrom int64 // the version that the last edit was made from; 0 if never edited
	createTime time.Time
	updateTime time.Time
}

// Contact is what may change after an order was placed.
type Contact struct {
	Email        string
	ShippingNote string
}

// Draft is what a new order is made of. Its lines are priced already.
type Draft struct {
	ID            uuid.UUID
	Tenant        string
	Lines         []Line
	PaymentMethod string
	ChargeKey     string
	Contact       Contact
	Now           time.Time
}

// NewOrder returns the order in PENDING_PAYMENT, summed up. The sum of lines in
// different currencies, or beyond what can be counted, is an error.
func NewOrder(d Draft) (*Order, error) {
	total, err := sum(d.Lines)
	if err != nil {
		return nil, err
	}
	now := instant(d.Now)
	return &Order{
		id: d.ID, tenant: d.Tenant, state: PendingPayment,
		lines: slices.Clone(d.Lines), total: total,
		paymentMethod: d.PaymentMethod, chargeKey: d.ChargeKey,
		contact: d.Contact, version: 1, createTime: now, updateTime: now,
	}, nil
}

func sum(lines []Line) (money.Amount, error) {
	if len(lines) == 0 {
		return money.Amount{}, ErrNoLines
	}
	total := money.Amount{Currency: lines[0].UnitPrice.Currency}
	for _, line := range lines {
		if line.Quantity <= 0 || line.UnitPrice.Minor <= 0 {
			return money.Amount{}, fmt.Errorf("line of %s: quantity and price must be positive", line.ProductID)
		}
		amount, err := line.UnitPrice.Mul(int64(line.Quantity))
		if err != nil {
			return money.Amount{}, fmt.Errorf("line of %s: %w", line.ProductID, err)
		}
		if total, err = total.Add(amount); err != nil {
			return money.Amount{}, fmt.Errorf("total: %w", err)
		}
	}
	return total, nil
}

// State returns where the order is in its life.
func (o *Order) State() State { return o.state }

// Total returns the sum of all lines.
func (o *Order) Total() money.Amount { return o.total }

// Version counts the changes of the order, the first one included.
func (o *Order) Version() int64 { return o.version }

// Pay notes that the payment took the order's total.
func (o *Order) Pay(payment uuid.UUID, now time.Time) error {
	if err := o.become(Paid, now); err != nil {
		return err
	}
	o.paymentID = &payment
	return nil
}

// FailPayment notes that nothing was taken and nothing will be: the card was
// declined, for the reason code gives, or the payment never happened. The
// payment is nil if there is none.
func (o *Order) FailPayment(payment *uuid.UUID, code string, now time.Time) error {
	if err := o.become(PaymentFailed, now); err != nil {
		return err
	}
	o.paymentID, o.declineCode = payment, code
	return nil
}

// Cancel decides that the order ends and what was paid is given back.
func (o *Order) Cancel(now time.Time) error { return o.become(Cancelling, now) }

// FinishCancelling notes that nothing is owed any more. The payment is the one
// that was given back, nil if none ever took anything.
func (o *Order) FinishCancelling(payment *uuid.UUID, now time.Time) error {
	if err := o.become(Cancelled, now); err != nil {
		return err
	}
	if payment != nil {
		o.paymentID = payment
	}
	return nil
}

func (o *Order) become(to State, now time.Time) error {
	if !slices.Contains(transitions[o.state], to) {
		return &StateError{From: o.state, To: to}
	}
	o.state = to
	o.changed(now)
	return nil
}

// Edit is a change of contact: nil leaves a field as it is.
type Edit struct {
	Email        *string
	ShippingNote *string
}

// Edit applies e if it was made from the order's present version, and reports
// whether the order changed. Sent again, the same edit finds its own result and
// is fine too, however the order moved on otherwise; any other edit made from
// an older version is ErrStaleEtag. Every state allows it: news about a
// cancelled order must reach somebody as well.
func (o *Order) Edit(from int64, e Edit, now time.Time) (changed bool, err error) {
	after := o.contact
	if e.Email != nil {
		after.Email = *e.Email
	}
	if e.ShippingNote != nil {
		after.ShippingNote = *e.ShippingNote
	}
	repeated := from == o.editedFrom && after == o.contact
	switch {
	case from != o.version && !repeated:
		return false, ErrStaleEtag
	case after == o.contact:
		return false, nil
	}
	o.contact, o.editedFrom = after, o.version
	o.changed(now)
	return true, nil
}

// changed counts the version up. Time never runs backwards for one order,
// whatever the clocks of different replicas say.
func (o *Order) changed(now time.Time) {
	o.version++
	if now = instant(now); now.After(o.updateTime) {
		o.updateTime = now
	}
}

// instant is a time as the database keeps it, so that an order reads the same
// before and after it is stored.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
