package routes

import "time"

// Budget is what may be spent in a period.
type Budget struct {
	// Name is what the ledger and errors call it.
	Name string
	// Tenant is whose it is; "*" is each tenant's own, of the same size.
	Tenant string
	// Period is how long it lasts.
	Period Period
	// Limit is in nano-dollars, 1e-9 USD.
	Limit int64
	// Line is where the file has it.
	Line int
}

// Period is how long a budget lasts. Days and months are those of UTC.
type Period string

// The periods there are.
const (
	// Day begins at midnight.
	Day Period = "day"
	// Month begins at midnight of its first day.
	Month Period = "month"
	// Total never ends.
	Total Period = "total"
)

// Bounds returns when the period that holds a time began and when it ends, both
// in UTC. Total has no end, and began at the zero of Unix time.
func (p Period) Bounds(at time.Time) (start, end time.Time) {
	at = at.UTC()
	switch p {
	case Day:
		start = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 0, 1)
	case Month:
		start = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 1, 0)
	default:
		return time.Unix(0, 0).UTC(), time.Time{}
	}
}

// Limit is how much a tenant may ask for in a minute, in one replica.
type Limit struct {
	// Tenant is whose it is; "*" is each tenant's own that has none by name.
	Tenant string
	// RequestsPerMinute and TokensPerMinute: 0 is no limit.
	RequestsPerMinute, TokensPerMinute int64
	// Line is where the file has it.
	Line int
}

// BudgetsOf returns the budgets that a tenant's request must fit into, all of
// them: those that name the tenant, and those for everybody unless the tenant
// has one of the same name.
func (t *Table) BudgetsOf(tenant string) []Budget {
	var found []Budget
	own := map[string]bool{}
	for _, b := range t.Budgets {
		if b.Tenant == tenant {
			own[b.Name] = true
			found = append(found, b)
		}
	}
	for _, b := range t.Budgets {
		if b.Tenant == everyone && tenant != everyone && !own[b.Name] {
			found = append(found, b)
		}
	}
	return found
}

// LimitOf returns a tenant's limit, its own or else everybody's, and whether it
// has one.
func (t *Table) LimitOf(tenant string) (Limit, bool) {
	var found Limit
	for _, l := range t.Limits {
		if l.Tenant == tenant {
			return l, true
		}
		if l.Tenant == everyone {
			found = l
		}
	}
	return found, found != Limit{}
}
