//go:build faults

package ledger

// Safeguard is something without which the promise breaks. Tests take one away
// to show that they would notice. What is built for production has no way to.
type Safeguard int

// The safeguards of a ledger.
const (
	// Reservation is that a budget is asked again, under its lock, whether it has
	// room.
	Reservation Safeguard = 1 << iota
	// Epoch is that an owner whose attempt was taken over changes nothing.
	Epoch
)

// Without returns a ledger that lacks some safeguards.
func (l *Ledger) Without(g Safeguard) *Ledger {
	lacking := *l
	lacking.without = safeguards{reservation: g&Reservation != 0, epoch: g&Epoch != 0}
	return &lacking
}
