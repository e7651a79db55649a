package resilience

import "sync/atomic"

// budget is a token bucket that calls fill and repeats drain, so that repeats
// are a bounded part of the load over any time (Finagle's RetryBudget; gRFC A6
// throttles alike). failsafe-go's budget bounds the part of what is in flight
// at one moment, which says nothing when failures are fast: what fails at once
// is hardly ever in flight.
type budget struct {
	perCall int64 // thousandths of a repeat that each call pays for
	balance atomic.Int64
}

// A repeat costs 1000. The reserve lets a service that is hardly called retry at
// all; a bucket that is not used does not grow beyond ten times that.
const (
	repeatCost    = 1000
	reserve       = 10 * repeatCost
	budgetCeiling = 100 * repeatCost
)

func newBudget(ratio float64) *budget {
	b := &budget{perCall: int64(ratio * repeatCost)}
	if b.perCall > 0 {
		b.balance.Store(reserve)
	}
	return b
}

// deposit is for every call, once, however many attempts it takes.
func (b *budget) deposit() {
	if b.balance.Load() < budgetCeiling { // a race overshoots by a few calls' worth
		b.balance.Add(b.perCall)
	}
}

// withdraw reports whether one more repeat can be paid for, and pays.
func (b *budget) withdraw() bool {
	for {
		balance := b.balance.Load()
		if balance < repeatCost {
			return false
		}
		if b.balance.CompareAndSwap(balance, balance-repeatCost) {
			return true
		}
	}
}

// left is how many repeats can be paid for.
func (b *budget) left() float64 { return float64(b.balance.Load()) / repeatCost }
