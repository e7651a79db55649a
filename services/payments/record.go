package payments

import (
	"time"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// Record is one operation as the processor's own books have it, to be compared
// with ours.
type Record struct {
	// Key is the idempotency key that the operation was asked for with; empty if
	// the processor does not tell.
	Key string
	// ProcessorID is the processor's name of the charge.
	ProcessorID string
	// Payment is the reference that the processor keeps for us: our payment's id.
	Payment string
	Kind    Kind
	// Verdict is what became of it: Done, Refused, or "" while the processor has
	// not finished.
	Verdict Verdict
	// DeclineCode is why, when Refused.
	DeclineCode string
	Amount      money.Amount
	Time        time.Time
}
