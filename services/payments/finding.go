package payments

import (
	"time"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// FindingKind is a way in which our books and the processor's differ.
type FindingKind string

// The kinds of finding, as the database and the API have them. One of them heals
// by itself; the rest waits for a person, because every way to make the books
// agree again either moves money or writes down something that nobody asked for.
const (
	// Undecided: an operation of ours has been open past its bound and the
	// processor knows what became of it. The completer is made to take it at once:
	// it asks the processor itself and stores the outcome under its epoch, as it
	// would have, so that nothing is written around it.
	Undecided FindingKind = "undecided"
	// MissingHere: the processor did something that we have no payment or no entry
	// for, as after a restore from a backup. Not healed: what a payment needs (a
	// tenant, a reference, an answer for its key) is not in the processor's books.
	// A client that repeats its request heals it: the same key derives the same
	// payment and the same operation.
	MissingHere FindingKind = "missing_here"
	// MissingThere: we have an entry or an authorization that the processor has no
	// trace of. Not healed: entries are history, and taking the money now would be
	// a second charge if it was the processor that lost a record.
	MissingThere FindingKind = "missing_there"
	// AmountMismatch: both have the operation, with another amount or currency.
	// Not healed: which side is right is not known.
	AmountMismatch FindingKind = "amount_mismatch"
	// StateMismatch: both have the operation, and it was done according to one and
	// not according to the other. Not healed: our state machine has no way out of
	// a final state, and a customer was told of it.
	StateMismatch FindingKind = "state_mismatch"
	// DuplicateAtProcessor: money was taken for a payment a second time. Not
	// healed: giving it back moves money, and which of the two the customer
	// disputes or was told of is not ours to guess.
	DuplicateAtProcessor FindingKind = "duplicate_at_processor"
	// OrphanAuthorization: the processor holds an amount that no payment of ours
	// will ever capture. Not healed: releasing it is an operation that nobody asked
	// for, and it lapses by itself.
	OrphanAuthorization FindingKind = "orphan_authorization"
)

// findingKinds are all of them, for metrics that show a zero.
var findingKinds = []FindingKind{
	Undecided, MissingHere, MissingThere, AmountMismatch, StateMismatch, DuplicateAtProcessor, OrphanAuthorization,
}

// FindingState is what became of a finding.
type FindingState string

// The states of a finding.
//
//	open ─┬─ the completer finished what it was about ─→ healed
//	      └─ a run, or what was given back at the processor, found it gone ─→ resolved
const (
	FindingOpen     FindingState = "open"
	FindingHealed   FindingState = "healed"
	FindingResolved FindingState = "resolved"
)

// Finding is one difference between our books and the processor's.
type Finding struct {
	Kind FindingKind
	// Tenant is empty when the payment is not known here.
	Tenant string
	// Payment is our payment's id, as the processor keeps it.
	Payment      string
	Operation    Kind
	ProcessorKey string
	ProcessorID  string
	// Ours and Theirs are what the two sides say, in a word; empty if a side has
	// nothing.
	Ours, Theirs string
	// OurAmount and TheirAmount are nil if a side has none.
	OurAmount, TheirAmount *int64
	Currency               string
	// RecordTime is when the processor did it; zero if it has no record.
	RecordTime time.Time
}

// subject is what makes it the same finding in another run. A processor that
// breaks the promise of a key has two charges under one.
func (f Finding) subject() string {
	return f.Payment + " " + string(f.Operation) + " " + f.ProcessorKey + " " + f.ProcessorID
}

// record is the processor's side of it, to be compared again.
func (f Finding) record() (Record, bool) {
	if f.RecordTime.IsZero() || f.TheirAmount == nil {
		return Record{}, false
	}
	r := Record{
		Key: f.ProcessorKey, ProcessorID: f.ProcessorID, Payment: f.Payment, Kind: f.Operation,
		Amount: money.Amount{Currency: f.Currency, Minor: *f.TheirAmount}, Time: f.RecordTime,
	}
	if f.Theirs != pendingThere {
		r.Verdict = Verdict(f.Theirs)
	}
	return r, true
}

// What a side says where it has no word of its own.
const (
	pendingThere = "pending"
	unknownThere = "no record"
	openHere     = "open"
	entryHere    = "entry"
)
