//go:build faults

package idempotency

// Safeguard is something without which the promise breaks. Drills and tests take
// one away to show that they would notice. What is built for production has no
// way to.
type Safeguard int

// The safeguards of a store.
const (
	// Epoch is that the second commit asks who owns the key. With it goes the time
	// that an owner has: one that comes too late mostly has none left, which would
	// hide what is missing.
	Epoch Safeguard = 1 << iota
	// Seal is that an answer is stored before it is given.
	Seal
	// Gate is that a duplicate of a request under way does not wait for it on a
	// connection.
	Gate
	// Keys is all of it: a write is stored and no key. For benchmarks.
	Keys
)

// Without returns a store that lacks some safeguards.
func (s *Store) Without(g Safeguard) *Store {
	lacking := *s
	lacking.without = sabotage{epoch: g&Epoch != 0, seal: g&Seal != 0, gate: g&Gate != 0, keys: g&Keys != 0}
	return &lacking
}
