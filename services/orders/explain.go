package orders

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// listed is how many products a sentence names before it only counts.
const listed = 3

// inWords is a plain text about an order, made from its state alone: what is said
// when no language model is there to say it better.
func inWords(o *Order) string {
	return fmt.Sprintf("The order of %s for %s %s", goods(o.lines), o.total, standing(o.state))
}

// standing ends a sentence that begins with the order.
func standing(s State) string {
	switch s {
	case PendingPayment:
		return "is accepted, and whether it is paid is not known yet. There is nothing to do."
	case Paid:
		return "is accepted and paid."
	case PaymentFailed:
		return "was not paid, so nothing was charged and nothing will be sent. It can be placed again."
	case Cancelling:
		return "is being cancelled. Whatever was paid is on its way back."
	case Cancelled:
		return "is cancelled, and nothing is owed."
	default:
		return "is in a state that this release does not know."
	}
}

// goods names what was ordered.
func goods(lines []Line) string {
	var names []string
	for _, line := range lines[:min(len(lines), listed)] {
		names = append(names, fmt.Sprintf("%d × %s", line.Quantity, line.ProductID))
	}
	switch more := len(lines) - listed; {
	case more == 1:
		names = append(names, "1 other product")
	case more > 1:
		names = append(names, fmt.Sprintf("%d other products", more))
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// instructions are what the model is told of its task. They are the same for
// every order, so that a provider's prompt cache can keep them.
const instructions = "You tell a buyer how an order stands, in at most three short sentences of plain English. " +
	"Say only what the facts below say: promise nothing, give no advice about payments, and ask no questions. " +
	"The states are: PENDING_PAYMENT (accepted, whether it is paid is not known yet), PAID, " +
	"PAYMENT_FAILED (nothing was charged; the order is over), CANCELLING (what was paid is being given back), " +
	"CANCELLED (nothing is owed)."

// facts is what a model learns of an order. It is all that leaves the platform:
// nothing about a person, such as the contact, the note for whoever ships it or the
// payment, and no text that a client wrote.
type facts struct {
	State       State      `json:"state"`
	Lines       []factLine `json:"lines"`
	Total       string     `json:"total"`
	DeclineCode string     `json:"decline_code,omitempty"`
	Placed      time.Time  `json:"placed"`
	Changed     time.Time  `json:"changed"`
}

type factLine struct {
	Product   string `json:"product"`
	Quantity  int32  `json:"quantity"`
	UnitPrice string `json:"unit_price"`
}

// maxFactLines bounds what a prompt costs: an order may have a hundred lines.
const maxFactLines = 20

// factsOf are the facts of an order, as JSON.
func factsOf(o *Order) (string, error) {
	f := facts{
		State: o.state, Total: o.total.String(), DeclineCode: o.declineCode,
		Placed: o.createTime.UTC(), Changed: o.updateTime.UTC(),
	}
	for _, line := range o.lines[:min(len(o.lines), maxFactLines)] {
		f.Lines = append(f.Lines, factLine{line.ProductID, line.Quantity, line.UnitPrice.String()})
	}
	text, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("write the facts of order %s: %w", o.id, err)
	}
	return string(text), nil
}
