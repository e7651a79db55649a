package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
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
	name := make([]byte, 0, 128)
	for _, part := range [...]string{b.Tenant, b.Name, b.Period} {
		name = binary.AppendUvarint(name, uint64(len(part)))
		name = append(name, part...)
	}
	name = binary.AppendVarint(name, b.Start.Unix())
	return uuid.NewSHA1(budgetIDs, name)
}

// purse is the budgets of one request as columns, which is how they travel. Its
// types are those that pgx encodes without looking at them.
type purse struct {
	budgets  []Budget
	ids      pgtype.FlatArray[pgtype.UUID]
	ceilings pgtype.FlatArray[int64]
	tenants  pgtype.FlatArray[string]
	names    pgtype.FlatArray[string]
	periods  pgtype.FlatArray[string]
	starts   pgtype.FlatArray[pgtype.Timestamptz]
	ends     pgtype.FlatArray[pgtype.Timestamptz]
}

func newPurse(budgets []Budget) (*purse, error) {
	n := len(budgets)
	p := &purse{budgets: budgets, ids: make([]pgtype.UUID, n), ceilings: make([]int64, n)}
	texts, times := make([]string, 3*n), make([]pgtype.Timestamptz, 2*n)
	p.tenants, p.names, p.periods, p.starts, p.ends = texts[:n], texts[n:2*n], texts[2*n:], times[:n], times[n:]
	for i, b := range budgets {
		if b.Limit < 0 {
			return nil, fmt.Errorf("ledger: budget %s has a limit below zero", b.Name)
		}
		p.ids[i], p.ceilings[i] = pgUUID(b.id()), b.Limit
		p.tenants[i], p.names[i], p.periods[i] = b.Tenant, b.Name, b.Period
		p.starts[i] = pgtype.Timestamptz{Time: b.Start, Valid: true}
		p.ends[i] = pgtype.Timestamptz{Time: b.End, Valid: !b.End.IsZero()}
		if slices.Contains(p.ids[:i], p.ids[i]) {
			return nil, fmt.Errorf("ledger: budget %s is named twice", b.Name)
		}
	}
	return p, nil
}

// pgUUID is an id as a parameter. A uuid.UUID would travel by way of its text.
func pgUUID(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// refused is the error of a budget without room, by its place in the purse.
func (p *purse) refused(place int, left int64) error {
	b := p.budgets[place-1]
	return &OverBudget{Budget: b.Name, Tenant: b.Tenant, Limit: b.Limit, Left: max(left, 0), ResetsAt: b.End}
}
