package invariants

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// ledgerBalances is invariant 3.
func ledgerBalances(e *evidence) (found []Violation) {
	violated := func(payment uuid.UUID, format string, args ...any) {
		found = append(found, Violation{Invariant: 3, Subject: "payment " + payment.String(), Text: fmt.Sprintf(format, args...)})
	}
	// What the platform owes tenants must be what the processor owes the
	// platform, for each payment: captures come in, refunds go out.
	type flow struct{ captured, refunded int64 }
	flows := map[uuid.UUID]flow{}
	for _, l := range e.entries {
		in := strings.HasPrefix(l.Debit, "processor:") && strings.HasPrefix(l.Credit, "tenant:")
		out := strings.HasPrefix(l.Debit, "tenant:") && strings.HasPrefix(l.Credit, "processor:")
		if l.Amount <= 0 || in == out {
			violated(l.Payment, "an entry of %d from %q to %q does not balance", l.Amount, l.Debit, l.Credit)
			continue
		}
		f := flows[l.Payment]
		if in {
			f.captured += l.Amount
		} else {
			f.refunded += l.Amount
		}
		flows[l.Payment] = f
	}
	for _, p := range e.payments {
		f := flows[p.ID]
		delete(flows, p.ID)
		if f.captured != p.Captured || f.refunded != p.Refunded {
			violated(p.ID, "the ledger has %d captured and %d refunded, the payment %d and %d",
				f.captured, f.refunded, p.Captured, p.Refunded)
		}
		if p.Refunded > p.Captured || f.refunded > f.captured {
			violated(p.ID, "more was refunded than captured: %d of %d", max(p.Refunded, f.refunded), p.Captured)
		}
		if p.Captured > p.Amount {
			violated(p.ID, "more was captured than asked for: %d of %d", p.Captured, p.Amount)
		}
	}
	for payment := range flows {
		violated(payment, "the ledger has entries of a payment that is not there")
	}
	return found
}
