package model

// Rule is what must hold in every state.
type Rule struct {
	Name  string
	holds func(State) bool
}

// NothingStaysUndecided is the rule about what must be possible rather than what
// must be the case: from every state, and without another fault, there is a way
// to one in which the key is decided.
const NothingStaysUndecided = "nothing stays undecided when everything has run that can"

// The rules, in the order in which they are looked at.
var (
	OneCharge  = Rule{"the provider charges at most once", func(s State) bool { return s.Provider.Charges <= 1 }}
	OneOrder   = Rule{"a key makes one order", func(s State) bool { return s.Rows[1].Payload == NoPayload }}
	OneAnswer  = Rule{"every OK answer is the same", func(s State) bool { return s.Breach != TwoAnswers }}
	NoLoser    = Rule{"an owner that was taken over changes nothing", func(s State) bool { return s.Breach != LoserWrote }}
	NoStranger = Rule{"another payload is refused and told nothing", func(s State) bool { return s.Breach != StrangerTold }}
	// AsHappened: what we say of an order that is decided is what the provider
	// did, now and for ever: nothing may be done after it.
	AsHappened = Rule{"a decided order is what the provider did", func(s State) bool {
		for _, r := range s.Rows {
			if r.Decided && (r.Order == Paid) != (s.Provider.Charges > 0) {
				return false
			}
		}
		return true
	}}
	BookedOnce = Rule{"the ledger has what was taken, once", func(s State) bool {
		for _, r := range s.Rows {
			if r.Entries > 1 || r.Decided && (r.Entries == 1) != (r.Order == Paid) {
				return false
			}
		}
		return true
	}}
)

// Rules are all of them, but for [NothingStaysUndecided].
func Rules() []Rule {
	return []Rule{OneCharge, OneOrder, OneAnswer, NoLoser, NoStranger, AsHappened, BookedOnce}
}
