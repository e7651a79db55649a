package ledger

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Budget is what may be spent in one period. It comes into being when the first
// request draws on it.
type Budget struct {
	// Tenant is whose it is; empty is one budget for all tenants together.
	Tenant string
	// Name is what the configuration calls it.
	Name string
	// Period is the kind of period, such as "day", for people.
	Period string
	// Start and End bound the period: the first instant in it, and the first
	// after it, which is when there is a new one. A zero End is never.
	Start, End time.Time
	// Limit is in nano-dollars. It may differ from the last time: a limit that
	// was lowered below what is spent refuses, and takes nothing back.
	Limit int64
}

// budgetIDs is the namespace of the names that ids of budgets are derived from
// (UUID version 5, RFC 9562 section 5.5).
var budgetIDs = uuid.MustParse("6f1f4f0c-6d5e-5b43-9f3c-6f0b1c5a7e11")

// id is the same for everybody who means the same budget and period.
func (b Budget) id() uuid.UUID {
	name := fmt.Appendf(nil, "%d:%s/%d:%s/%d:%s/%d", len(b.Tenant), b.Tenant, len(b.Name), b.Name, len(b.Period), b.Period, b.Start.Unix())
	return uuid.NewSHA1(budgetIDs, name)
}

// purse is the budgets of one request as columns, which is how they travel.
type purse struct {
	ids      []uuid.UUID
	ceilings []int64
	tenants  []string
	names    []string
	periods  []string
	starts   []time.Time
	ends     []*time.Time
	budgets  []Budget
}

func newPurse(budgets []Budget) (*purse, error) {
	n := len(budgets)
	p := &purse{
		ids: make([]uuid.UUID, n), ceilings: make([]int64, n), tenants: make([]string, n), names: make([]string, n),
		periods: make([]string, n), starts: make([]time.Time, n), ends: make([]*time.Time, n), budgets: budgets,
	}
	for i := range budgets {
		b := &budgets[i]
		if b.Limit < 0 {
			return nil, fmt.Errorf("ledger: budget %s has a limit below zero", b.Name)
		}
		p.ids[i], p.ceilings[i], p.starts[i] = b.id(), b.Limit, b.Start
		p.tenants[i], p.names[i], p.periods[i] = b.Tenant, b.Name, b.Period
		if !b.End.IsZero() {
			p.ends[i] = &b.End
		}
		for j := range i {
			if p.ids[j] == p.ids[i] {
				return nil, fmt.Errorf("ledger: budget %s is named twice", b.Name)
			}
		}
	}
	return p, nil
}

// refused is the error of a budget without room, by its place in the purse.
func (p *purse) refused(place int, left int64) error {
	b := p.budgets[place-1]
	return &OverBudget{Budget: b.Name, Tenant: b.Tenant, Limit: b.Limit, Left: max(left, 0), ResetsAt: b.End}
}
