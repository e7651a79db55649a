package invariants_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/invariants"
)

// asked is an attempt at the key k1, sent and answered at these milliseconds.
func asked(sent, answered int, a invariants.Attempt) invariants.Attempt {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a.Sent, a.At = start.Add(time.Duration(sent)*time.Millisecond), start.Add(time.Duration(answered)*time.Millisecond)
	a.Key = "k1"
	if a.OK {
		a.Encoding, a.Order, a.State = "proto", uuid.MustParse(paidOrder), "PAID"
	}
	return a
}

func ok(request, body string) invariants.Attempt {
	return invariants.Attempt{Request: request, OK: true, Body: []byte(body)}
}

func reused(request string) invariants.Attempt {
	return invariants.Attempt{Request: request, Refusal: "KEY_REUSED"}
}

func lost(request string) invariants.Attempt {
	return invariants.Attempt{Request: request, Failure: "connection reset"}
}

// TestAKeyIsUsedOnce: histories of one key that an order explains, and histories
// that none does.
func TestAKeyIsUsedOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		history []invariants.Attempt
		legal   bool
	}{
		{"one request and its repeat", []invariants.Attempt{asked(0, 1, ok("a", "A")), asked(2, 3, ok("a", "A"))}, true},
		{"a repeat with another answer", []invariants.Attempt{asked(0, 1, ok("a", "A")), asked(2, 3, ok("a", "B"))}, false},
		{"another request, refused", []invariants.Attempt{asked(0, 1, ok("a", "A")), asked(2, 3, reused("b"))}, true},
		{"another request, answered as well", []invariants.Attempt{asked(0, 1, ok("a", "A")), asked(2, 3, ok("b", "A"))}, false},
		{"refused for a request that came later", []invariants.Attempt{asked(0, 1, reused("b")), asked(2, 3, ok("a", "A"))}, false},
		{"refused for a request that was under way", []invariants.Attempt{asked(0, 5, ok("a", "A")), asked(1, 2, reused("b"))}, true},
		{"refused for a request whose answer was lost", []invariants.Attempt{asked(0, 1, lost("a")), asked(2, 3, reused("b"))}, true},
		{"refused for itself", []invariants.Attempt{asked(0, 1, lost("a")), asked(2, 3, reused("a"))}, false},
		{"a lost request that never took effect", []invariants.Attempt{asked(0, 1, lost("b")), asked(2, 3, ok("a", "A"))}, true},
		{"a lost request that took effect late", []invariants.Attempt{
			asked(0, 1, lost("a")), asked(2, 3, lost("b")), asked(4, 5, lost("a")), asked(6, 7, ok("b", "B")), asked(8, 9, reused("a")),
		}, true},
		{"two requests, each refused for the other", []invariants.Attempt{
			asked(0, 1, lost("a")), asked(0, 1, lost("b")), asked(2, 3, reused("a")), asked(4, 5, reused("b")),
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := goodWorld(t)
			w.history = test.history
			var found []string
			for _, violation := range w.check(t).Violations {
				found = append(found, violation.Text)
			}
			if test.legal {
				require.Empty(t, found)
				return
			}
			require.Contains(t, found, fmt.Sprintf("no order of the %d requests with it explains their answers", len(test.history)))
		})
	}
}
