package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWithoutAProtectionTheStoryOfTheDamageIsTold takes the protections out one
// by one. The stories are what a reader would have told: the kinds of the steps
// that matter come in this order, and there are few others.
func TestWithoutAProtectionTheStoryOfTheDamageIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		without Protections
		look    []Rule // only these; all if nil
		broken  string
		told    []Kind
		steps   int
	}{
		"unique constraint and derived ids": {
			without: Protections{Unique: true}, broken: OneOrder.Name,
			told: []Kind{Claims, Claims}, steps: 2,
		},
		"fingerprint": {
			without: Protections{Fingerprint: true}, broken: NoStranger.Name,
			told: []Kind{Claims, Seals, IsToldAnothers}, steps: 4,
		},
		"derived key": {
			without: Protections{DerivedKey: true}, broken: OneCharge.Name,
			told: []Kind{Claims, Sends, Answered, TakesOver, LooksUp, Sends, Answered}, steps: 8,
		},
		"seal": {
			without: Protections{Seal: true}, broken: OneAnswer.Name,
			told: []Kind{Claims, AnswersUnsealed, TakesOver, Completes, IsReplayed}, steps: 10,
		},
		"sealed answer": {
			without: Protections{SealKept: true}, broken: OneAnswer.Name,
			told: []Kind{Claims, Seals, TakesOver, Completes, IsReplayed}, steps: 10,
		},
		"epoch": {
			without: Protections{Epoch: true}, broken: NoLoser.Name,
			told: []Kind{Claims, Sends, Answered, TakesOver, Completes}, steps: 5,
		},
		"epoch of one's own": {
			without: Protections{OwnEpoch: true}, broken: NoLoser.Name,
			told: []Kind{ClaimCut, TakesOver, ClaimsAgain, Seals}, steps: 5,
		},
		"epoch and the ledger's rule, which masks it": {
			without: Protections{Epoch: true, LedgerRule: true}, look: []Rule{BookedOnce}, broken: BookedOnce.Name,
			told: []Kind{Claims, Sends, Answered, CompleteCut, Completes}, steps: 5,
		},
		"completer": {
			without: Protections{Completer: true}, broken: NothingStaysUndecided,
			told: []Kind{Claims, TimeUp}, steps: 2,
		},
		"lookup": {
			without: Protections{Lookup: true}, broken: AsHappened.Name,
			told: []Kind{Claims, Sends, Answered, TakesOver, TimePasses, TimePasses, ReadsAge, Completes}, steps: 8,
		},
		"lookup and horizon": {
			without: Protections{Lookup: true, Horizon: true}, broken: OneCharge.Name,
			told: []Kind{Claims, Sends, Answered, TimePasses, Forgets, Sends, Answered}, steps: 9,
		},
		"margin around the horizon": {
			without: Protections{Margin: true}, broken: AsHappened.Name,
			told: []Kind{Claims, Sends, TakesOver, TimePasses, TimePasses, LooksUp, Completes, Answered}, steps: 9,
		},
		"margin, and the provider forgets": {
			without: Protections{Margin: true}, look: []Rule{OneCharge}, broken: OneCharge.Name,
			told: []Kind{Claims, Sends, LooksUp, Answered, Sends, Forgets, Answered}, steps: 10,
		},
	} {
		t.Run(name, func(t *testing.T) {
			look := c.look
			if look == nil {
				look = Rules()
			}
			m := whole()
			m.Without = c.without
			v := m.Explore(look...).Violation
			require.NotNil(t, v, "the control breaks no rule")
			t.Log(v)
			require.Equal(t, c.broken, v.Rule)
			require.Len(t, v.Story, c.steps, "there is a shorter story, or none as short any more")
			left := c.told
			for _, step := range v.Story {
				if len(left) > 0 && step.Kind == left[0] {
					left = left[1:]
				}
			}
			require.Empty(t, left, "another story than expected")
		})
	}
}

// TestTwoProtectionsAreThereTwice: each is masked by another, so that taking it
// out alone breaks nothing. They are for what the model does not have: a hand on
// the database, and a processor whose books lag behind.
func TestTwoProtectionsAreThereTwice(t *testing.T) {
	for masked, without := range map[string]Protections{
		"the ledger's rule, by the epoch": {LedgerRule: true},
		"the horizon, by the lookup":      {Horizon: true},
	} {
		m := whole()
		m.Without = without
		v := m.Explore(Rules()...).Violation
		require.Nil(t, v, "%s: %s", masked, v)
	}
}
