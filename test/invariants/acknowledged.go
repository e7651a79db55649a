package invariants

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// follows says what an order may have become since a client was told a state.
var follows = map[string][]string{
	"PENDING_PAYMENT": {"PENDING_PAYMENT", "PAID", "PAYMENT_FAILED", "CANCELLING", "CANCELLED"},
	"PAID":            {"PAID", "CANCELLING", "CANCELLED"},
	"PAYMENT_FAILED":  {"PAYMENT_FAILED"},
	"CANCELLING":      {"CANCELLING", "CANCELLED"},
	"CANCELLED":       {"CANCELLED"},
}

// acknowledgedSurvives is invariant 2.
func acknowledgedSurvives(e *evidence) (found []Violation) {
	violated := func(key, format string, args ...any) {
		found = append(found, Violation{Invariant: 2, Subject: "key " + key, Text: fmt.Sprintf(format, args...)})
	}
	orders := map[uuid.UUID]order{}
	for _, o := range e.orders {
		orders[o.ID] = o
	}
	type answer struct{ key, encoding string }
	first := map[answer][]byte{}
	orderOf := map[string]uuid.UUID{}
	for _, a := range e.attempts {
		if !a.OK {
			continue
		}
		o, there := orders[a.Order]
		switch {
		case !there:
			violated(a.Key, "order %s was acknowledged and is not there", a.Order)
		case !slices.Contains(follows[a.State], o.State):
			violated(a.Key, "order %s was acknowledged as %s and is %s", a.Order, a.State, o.State)
		}
		if known, ok := orderOf[a.Key]; ok && known != a.Order {
			violated(a.Key, "it was answered with two orders, %s and %s", known, a.Order)
		}
		orderOf[a.Key] = a.Order
		same := answer{a.Key, a.Encoding}
		if body, ok := first[same]; !ok {
			first[same] = a.Body
		} else if !bytes.Equal(body, a.Body) {
			violated(a.Key, "two OK answers in %s differ", a.Encoding)
		}
	}
	return found
}
