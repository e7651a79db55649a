package invariants

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// history is all that is known about a subject: it follows a key to its order,
// the order to its payments, and those to the processor.
func (e *evidence) history(subject string) []string {
	kind, id, _ := strings.Cut(subject, " ")
	keys, orders, payments := map[string]bool{}, map[string]bool{}, map[string]bool{}
	switch kind {
	case "key":
		keys[id] = true
	case "order":
		orders[id] = true
	case "payment":
		payments[id] = true
	}
	for _, p := range e.payments { // a payment leads back to its order
		if payments[p.ID.String()] {
			orders[p.Reference] = true
		}
	}
	for _, a := range e.attempts {
		if a.Order != uuid.Nil && (keys[a.Key] || orders[a.Order.String()]) {
			keys[a.Key], orders[a.Order.String()] = true, true
		}
	}

	var lines []string
	attempts := slices.Clone(e.attempts)
	slices.SortStableFunc(attempts, func(a, b Attempt) int { return a.At.Compare(b.At) })
	for _, a := range attempts {
		if keys[a.Key] {
			lines = append(lines, a.line())
		}
	}
	for _, k := range e.undecided {
		if keys[k.Key] || (k.Resource != nil && (orders[k.Resource.String()] || payments[k.Resource.String()])) {
			lines = append(lines, fmt.Sprintf("%s: key %s of %s is undecided since %s", k.Service, k.Key, k.Method, clock(k.CreateTime)))
		}
	}
	for _, o := range e.orders {
		if orders[o.ID.String()] {
			lines = append(lines, fmt.Sprintf("orders: order %s is %s since %s, total %d %s", o.ID, o.State, clock(o.UpdateTime), o.Total, o.Currency))
		}
	}
	for _, p := range e.payments {
		if orders[p.Reference] || payments[p.ID.String()] {
			payments[p.ID.String()] = true
			lines = append(lines, fmt.Sprintf("payments: payment %s is %s since %s, amount %d, captured %d, refunded %d %s",
				p.ID, p.State, clock(p.UpdateTime), p.Amount, p.Captured, p.Refunded, p.Currency))
		}
	}
	for _, l := range e.entries {
		if payments[l.Payment.String()] {
			lines = append(lines, fmt.Sprintf("ledger: %s of %d %s from %s to %s", l.Kind, l.Amount, l.Currency, l.Debit, l.Credit))
		}
	}
	for _, o := range e.operations {
		if payments[o.Reference] {
			lines = append(lines, fmt.Sprintf("processor: #%d %s of %d %s on %s, %s, key %s", o.Sequence, o.Kind, o.Amount, o.Currency, o.Charge, o.Status, o.Key))
		}
	}
	return lines
}

// line is the attempt as a client would tell it.
func (a Attempt) line() string {
	var outcome string
	switch {
	case a.OK && a.Replayed:
		outcome = fmt.Sprintf("OK (replayed), order %s %s", a.Order, a.State)
	case a.OK:
		outcome = fmt.Sprintf("OK, order %s %s", a.Order, a.State)
	case a.Refusal != "":
		outcome = "refused: " + a.Refusal
	default:
		outcome = "failed: " + a.Failure
	}
	return fmt.Sprintf("client: %s key %s by %s: %s", clock(a.At), a.Key, a.Via, outcome)
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }
