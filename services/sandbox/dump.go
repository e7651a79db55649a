package sandbox

import (
	"net/http"
	"slices"
	"strings"
)

// Dump is the whole ledger, for whoever compares it with the platform's.
type Dump struct {
	Operations []Operation `json:"operations"`
	Totals     []Total     `json:"totals"`
}

// Total is what happened under one reference, in minor units.
type Total struct {
	Reference string `json:"reference"`
	Currency  string `json:"currency"`
	// Opened counts authorizations and charges that were not declined. More
	// than one is a double charge.
	Opened   int   `json:"opened"`
	Captured int64 `json:"captured"`
	Refunded int64 `json:"refunded"`
	// NetCaptured is what the world believes the merchant has.
	NetCaptured int64 `json:"net_captured"`
}

// dump answers the ledger, or the part of one reference.
func (a *API) dump(w http.ResponseWriter, r *http.Request) {
	reference := r.URL.Query().Get("reference")
	d := Dump{Operations: []Operation{}}
	err := a.ledger.Each(func(o Operation) error {
		if reference == "" || o.Reference == reference {
			d.Operations = append(d.Operations, o)
		}
		return nil
	})
	if err != nil {
		a.fail(w, err)
		return
	}
	d.Totals = totals(d.Operations)
	a.answer(w, d)
}

// totals sums what took effect, by reference.
func totals(operations []Operation) []Total {
	sums := map[string]*Total{}
	for _, o := range operations {
		t := sums[o.Reference]
		if t == nil {
			t = &Total{Reference: o.Reference, Currency: o.Currency}
			sums[o.Reference] = t
		}
		if o.Status == StatusDeclined {
			continue
		}
		if o.Kind == KindAuthorize || o.Kind == KindCharge {
			t.Opened++
		}
		if o.Status != StatusSucceeded {
			continue
		}
		switch o.Kind {
		case KindCharge, KindCapture:
			t.Captured += o.Amount
		case KindRefund:
			t.Refunded += o.Amount
		}
		t.NetCaptured = t.Captured - t.Refunded
	}
	list := make([]Total, 0, len(sums))
	for _, t := range sums {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Total) int { return strings.Compare(a.Reference, b.Reference) })
	return list
}
