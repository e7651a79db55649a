package model

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

// The default takes a second. `go test ./test/model -v -owners 4 -underway 3`
// takes some, and a quarter of a million states.
var (
	owners   = flag.Int("owners", 3, "how many owners of the key may be alive at once, at most 4")
	underWay = flag.Int("underway", 2, "how many requests may be under way with nobody waiting")
)

func whole() Model { return Model{Owners: *owners, UnderWay: *underWay} }

func TestEveryRuleHoldsInEveryState(t *testing.T) {
	r := whole().Explore(Rules()...)
	require.Nil(t, r.Violation, "%s", r.Violation)
	t.Logf("%d owners at once, %d requests under way: %d states, %d steps between them, the farthest %d from the first",
		*owners, *underWay, r.States, r.Steps, r.Depth)
}

// TestEveryStepIsTaken: a rule that holds because nothing happens proves nothing.
func TestEveryStepIsTaken(t *testing.T) {
	taken := whole().Explore(Rules()...).Taken
	onlyWithout := map[Kind]bool{IsToldAnothers: true, CompleteUndone: true, AnswersUnsealed: true}
	for kind := Claims; kind <= Forgets; kind++ {
		if onlyWithout[kind] {
			require.Zero(t, taken[kind], "%v happens though every protection is there", kind)
		} else {
			require.NotZero(t, taken[kind], "%v never happens", kind)
		}
	}
}

// TestWhatTheProtocolIsForIsReached looks for states as if they were violations.
func TestWhatTheProtocolIsForIsReached(t *testing.T) {
	overtaken := func(s State) (n int) {
		for _, o := range s.Owners {
			if o.At != Nowhere && o.Overtaken {
				n++
			}
		}
		return n
	}
	for what, is := range map[string]func(State) bool{
		"an order paid after its answer was sealed": func(s State) bool { return s.Rows[0].Order == Paid && s.Told.Answer == Pending },
		"an order declined after it was sealed":     func(s State) bool { return s.Rows[0].Order == Declined && s.Rows[0].Sealed },
		"an order that never happened":              func(s State) bool { return s.Rows[0].Order == NeverDone },
		"a card charged and nobody who knows":       func(s State) bool { return s.Provider.Charges == 1 && s.Owners[0].At == Nowhere && !s.Rows[0].Decided },
		"two owners taken over and still at work":   func(s State) bool { return overtaken(s) == 2 },
		"a loser that knows another way":            func(s State) bool { return overtaken(s) == 1 && s.Owners[0].Heard == Paid && s.Rows[0].Decided },
		"a charge under way for a decided order":    func(s State) bool { return s.Rows[0].Decided && s.Provider.UnderWay > 0 },
		"a charge that the provider has forgotten":  func(s State) bool { return s.Provider.Charges == 1 && !s.Provider.Remembers && !s.Rows[0].Decided },
		"the key used for something else":           func(s State) bool { return s.Rows[0].Payload == B && s.Rows[0].Decided },
	} {
		found := whole().Explore(Rule{what, func(s State) bool { return !is(s) }}).Violation
		require.NotNil(t, found, "no way leads to %s", what)
		require.Equal(t, what, found.Rule)
	}
}

// TestMakingStatesEqualLosesNone walks without it, as far as the third epoch: what
// is reached so must have been reached with it.
func TestMakingStatesEqualLosesNone(t *testing.T) {
	m := Model{Owners: 2, UnderWay: 1}
	reduced := map[State]bool{}
	m.Explore(Rule{"all", func(s State) bool { reduced[s] = true; return true }})
	raw := map[State]bool{{}: true}
	for queue := []State{{}}; len(queue) > 0; queue = queue[1:] {
		m.steps(queue[0], func(step Step, s State) {
			if s.Rows[0].Epoch > 3 || raw[s] {
				return
			}
			require.True(t, reduced[s.canonical()], "%s, and then a state that the exploration does not know", step)
			raw[s] = true
			queue = append(queue, s)
		})
	}
	require.Greater(t, len(raw), 10_000, "that was no walk")
}
