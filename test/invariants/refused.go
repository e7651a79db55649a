package invariants

import (
	"fmt"
	"slices"
)

// refusals are the reasons with which a key is refused for ever.
var refusals = []string{"KEY_REUSED", "KEY_EXPIRED", "KEY_FROM_FUTURE", "KEY_MALFORMED", "KEY_MISSING"}

// refusedChangedNothing is invariant 5. A refused request is known by its
// marker: a shipping note that must not be found on any order.
func refusedChangedNothing(e *evidence) (found []Violation) {
	noted := map[string]order{}
	for _, o := range e.orders {
		if o.ShippingNote != "" {
			noted[o.ShippingNote] = o
		}
	}
	for _, a := range e.attempts {
		if !slices.Contains(refusals, a.Refusal) || a.Marker == "" {
			continue
		}
		if o, ok := noted[a.Marker]; ok {
			found = append(found, Violation{
				Invariant: 5, Subject: "key " + a.Key,
				Text: fmt.Sprintf("a request was refused with %s, and order %s carries its note", a.Refusal, o.ID),
			})
		}
	}
	return found
}
