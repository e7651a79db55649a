package invariants

import "fmt"

// taken is what the processor holds for one payment.
type taken struct {
	opened int   // authorizations and charges that were not declined
	net    int64 // captured less refunded
}

// atProcessor sums the processor's ledger by payment.
func (e *evidence) atProcessor() map[string]taken {
	sums := map[string]taken{}
	for _, o := range e.operations {
		t := sums[o.Reference]
		if o.Status != "declined" && (o.Kind == "authorize" || o.Kind == "charge") {
			t.opened++
		}
		if o.Status == "succeeded" {
			switch o.Kind {
			case "charge", "capture":
				t.net += o.Amount
			case "refund":
				t.net -= o.Amount
			}
		}
		sums[o.Reference] = t
	}
	return sums
}

// oneCharge is invariant 1.
func oneCharge(e *evidence) (found []Violation) {
	violated := func(subject, format string, args ...any) {
		found = append(found, Violation{Invariant: 1, Subject: subject, Text: fmt.Sprintf(format, args...)})
	}
	processor := e.atProcessor()
	net := map[string]int64{} // by order
	for _, p := range e.payments {
		subject := "payment " + p.ID.String()
		held := processor[p.ID.String()]
		delete(processor, p.ID.String())
		if held.opened > 1 {
			violated(subject, "the processor opened %d charges for it", held.opened)
		}
		if believed := p.Captured - p.Refunded; held.net != believed {
			violated(subject, "the processor holds %d, payments believes %d", held.net, believed)
		}
		net[p.Reference] += held.net
	}
	for reference, held := range processor {
		if held.opened > 0 {
			violated("payment "+reference, "the processor holds %d for it, payments does not know it", held.net)
		}
	}
	for _, o := range e.orders {
		held := net[o.ID.String()]
		switch subject := "order " + o.ID.String(); {
		case o.State == "PAID" && held != o.Total:
			violated(subject, "it is paid, its total is %d, the processor holds %d", o.Total, held)
		case o.State != "PAID" && held != 0:
			violated(subject, "it is in %s and the processor holds %d", o.State, held)
		}
	}
	return found
}
