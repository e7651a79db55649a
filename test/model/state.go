package model

// MaxOwners is the most owners of a key that a [Model] can have alive at once.
const MaxOwners = 4

// Outcome is how an operation, an order or an answer stands.
type Outcome uint8

// The outcomes. As an answer, Pending is the 202 that a seal stores.
const (
	None Outcome = iota
	Pending
	Paid
	Declined
	NeverDone
)

// Payload is what a request asks for.
type Payload uint8

// A key is used for A or for something else; whichever comes first has it.
const (
	NoPayload Payload = iota
	A
	B
)

// Age is how long ago the first commit was, measured against the provider's
// horizon. Around is the horizon with its margin on both sides.
type Age uint8

// The ages, in the order in which they pass.
const (
	Inside Age = iota
	Around
	Past
)

// Row is what one first commit writes and later commits change: the key, and the
// order and its ledger entries with it.
type Row struct {
	Payload Payload // NoPayload: there is no row
	Epoch   uint8
	Sealed  bool
	Decided bool
	Answer  Outcome
	Order   Outcome
	Entries uint8
}

// Place is where an owner is in its work: what it will do next.
type Place uint8

// The places, in the order in which an owner comes through.
const (
	Nowhere Place = iota
	Unsure        // its first commit was sent, and the connection was cut
	ToReadAge
	ToLookUp
	ToSend
	Waiting    // its request is under way
	Deaf       // its request arrived or was lost; no answer will come
	ToComplete // it knows the outcome
	ToSeal     // its time is up
	Fenced     // its write matched no row
)

// Owner is one attempt to decide the key, in some replica.
type Owner struct {
	At        Place // Nowhere: there is no such owner
	Completer bool
	Row       uint8
	Epoch     uint8 // what its writes are conditional on
	Age       Age   // as it read it
	Heard     Outcome
	// Overtaken is known to the model and not to the owner: the key was taken
	// over since.
	Overtaken bool
}

// Provider is the outside world, as far as one derived key goes.
type Provider struct {
	// Books is what was done under the key, first, and is there for ever.
	Books Outcome
	// Remembers says that the key still protects from doing it again.
	Remembers bool
	Charges   uint8
	// UnderWay counts requests that may still arrive and nobody waits for.
	UnderWay uint8
}

// Told is the first OK answer that anybody was given.
type Told struct {
	Row    uint8
	Answer Outcome
}

// Breach is what a step did that no later state would show.
type Breach uint8

// The breaches.
const (
	NoBreach Breach = iota
	TwoAnswers
	LoserWrote
	StrangerTold
)

// State is everything at one moment. It is comparable: two moments that are
// equal have the same future.
type State struct {
	Rows     [2]Row // the second one only without the unique constraint
	Owners   [MaxOwners]Owner
	Provider Provider
	Age      Age
	Told     Told
	Breach   Breach
}

// canonical makes states equal that differ in nothing that matters. Owners have
// no names, so they are sorted. Of an epoch it only matters whether it still is
// the row's, since new ones are always higher: so takeovers need no bound.
func (s State) canonical() State {
	for i := range s.Owners {
		o := &s.Owners[i]
		if o.At == Nowhere {
			continue
		}
		if o.Epoch == s.Rows[o.Row].Epoch {
			o.Epoch = 2
		} else {
			o.Epoch = 1
		}
	}
	for i := range s.Rows {
		if s.Rows[i].Payload != NoPayload {
			s.Rows[i].Epoch = 2
		}
	}
	for i := 1; i < MaxOwners; i++ {
		for j := i; j > 0 && s.Owners[j].rank() > s.Owners[j-1].rank(); j-- {
			s.Owners[j], s.Owners[j-1] = s.Owners[j-1], s.Owners[j]
		}
	}
	return s
}

// rank orders owners. Nobody comes last.
func (o Owner) rank() uint64 {
	r := uint64(o.At)<<32 | uint64(o.Row)<<24 | uint64(o.Epoch)<<16 | uint64(o.Age)<<12 | uint64(o.Heard)<<8
	if o.Completer {
		r |= 1
	}
	if o.Overtaken {
		r |= 2
	}
	return r
}

// free is a place for one more owner, or -1.
func (s State) free(owners int) int {
	place, alive := -1, 0
	for i, o := range s.Owners {
		if o.At != Nowhere {
			alive++
		} else if place < 0 {
			place = i
		}
	}
	if alive >= owners {
		return -1
	}
	return place
}

// undecided reports whether a key waits for somebody to decide it.
func (s State) undecided() bool {
	for _, r := range s.Rows {
		if r.Payload != NoPayload && !r.Decided {
			return true
		}
	}
	return false
}
