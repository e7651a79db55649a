package payments

import (
	"slices"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// books are what we have of one payment, as of one moment.
type books struct {
	// Payment is nil if we have none.
	Payment *Payment
	Entries []Entry
	// OpenKeys are the processor keys of operations whose outcome the completer
	// has yet to find out.
	OpenKeys []string
}

// compare holds a record of the processor against our books of its payment. It
// returns nil if they agree, and if it is too early to tell: what is open is the
// completer's, and looked after apart.
func compare(r Record, b books) *Finding {
	entry := b.entry(r)
	switch r.Verdict {
	case Done:
		if b.Payment == nil {
			return b.finding(MissingHere, r, entry)
		}
		if b.open(r) {
			return nil
		}
		switch r.Kind {
		case Authorize:
			return b.compareAuthorization(r)
		case Void:
			return b.compareVoid(r)
		default:
			return b.compareMoney(r, entry)
		}
	case Refused:
		// Nothing was done. That we have no trace of it is no difference either: a
		// decline that a restore has lost is declined again.
		if entry != nil || b.Payment != nil && r.ProcessorID != "" && r.ProcessorID == b.Payment.ProcessorID && begins(r.Kind) {
			return b.finding(StateMismatch, r, entry)
		}
		return nil
	default:
		switch {
		case entry != nil: // ours says done
			return b.finding(StateMismatch, r, entry)
		case b.Payment == nil:
			return b.finding(MissingHere, r, nil) // it will be done when nobody looks
		}
		return nil
	}
}

// compareMoney compares a charge, a capture or a refund that was done.
func (b books) compareMoney(r Record, entry *Entry) *Finding {
	switch {
	case b.foreign(r) && r.Kind == Refund:
		return b.finding(MissingHere, r, nil) // of a charge that was never found
	case b.foreign(r):
		return b.finding(DuplicateAtProcessor, r, nil)
	case entry == nil && (b.Payment.State == Declined || b.Payment.State == Failed):
		return b.finding(StateMismatch, r, nil)
	case entry == nil:
		return b.finding(MissingHere, r, nil)
	case entry.Amount != r.Amount.Minor || entry.Currency != r.Amount.Currency:
		return b.finding(AmountMismatch, r, entry)
	default:
		return nil
	}
}

// compareAuthorization compares a reservation that was made. It has no entry.
func (b books) compareAuthorization(r Record) *Finding {
	switch p := b.Payment; {
	case b.foreign(r), p.State == Declined, p.State == Failed:
		return b.finding(OrphanAuthorization, r, nil)
	case p.State == Processing:
		return b.finding(MissingHere, r, nil) // under a key that is not ours
	case p.Amount != r.Amount:
		return b.finding(AmountMismatch, r, nil)
	default:
		return nil
	}
}

// compareVoid compares a release. What it released is no money of ours, so that
// its amount does not matter.
func (b books) compareVoid(r Record) *Finding {
	if b.Payment.State == Voided || b.foreign(r) {
		return nil
	}
	return b.finding(StateMismatch, r, nil)
}

// foreign says whether a record is of another charge than the payment's own.
func (b books) foreign(r Record) bool {
	return b.Payment.ProcessorID != "" && r.ProcessorID != "" && r.ProcessorID != b.Payment.ProcessorID
}

// givesBack says whether a record undoes a charge that is not the payment's own:
// somebody settled a finding at the processor. Where the payment itself is not
// known, nothing can be settled: it may come back.
func (b books) givesBack(r Record) bool {
	if b.Payment == nil || r.Verdict != Done || (r.Kind != Refund && r.Kind != Void) {
		return false
	}
	return b.Payment.ProcessorID == "" || b.foreign(r)
}

// open says whether the record is of an operation that the completer will finish.
func (b books) open(r Record) bool {
	if r.Key == "" {
		return b.Payment.Open != nil && b.Payment.Open.Kind == r.Kind
	}
	return slices.Contains(b.OpenKeys, r.Key)
}

// entry is our line for the record; nil if we have none. A processor that does
// not tell keys is believed by kind and amount.
func (b books) entry(r Record) *Entry {
	want := ledgerKind(r.Kind)
	for i := range b.Entries {
		e := &b.Entries[i]
		if r.Key != "" && e.ProcessorKey == r.Key {
			return e
		}
		if r.Key == "" && e.Kind == want && (want == Capture || e.Amount == r.Amount.Minor) {
			return e
		}
	}
	return nil
}

// finding is the difference between the record and what we have.
func (b books) finding(kind FindingKind, r Record, entry *Entry) *Finding {
	f := &Finding{
		Kind: kind, Payment: r.Payment, Operation: r.Kind, ProcessorKey: r.Key, ProcessorID: r.ProcessorID,
		Theirs: string(r.Verdict), TheirAmount: &r.Amount.Minor, Currency: r.Amount.Currency, RecordTime: r.Time,
	}
	if r.Verdict == "" {
		f.Theirs = pendingThere
	}
	if b.Payment != nil {
		f.Tenant, f.Ours = b.Payment.Tenant, string(b.Payment.State)
	}
	if entry != nil {
		f.OurAmount = &entry.Amount
	} else if b.Payment != nil && begins(r.Kind) {
		f.OurAmount = &b.Payment.Amount.Minor
	}
	return f
}

// begins says whether an operation is one that a payment begins with.
func begins(k Kind) bool { return k == Authorize || k == Charge }

// ledgerKind is how the ledger calls what an operation does to money.
func ledgerKind(k Kind) Kind {
	if k == Charge {
		return Capture
	}
	return k
}

// missingThere is an entry of ours that the processor, when asked, says of what
// it says: nothing, or that it was not done.
func missingThere(e Entry, p *Payment, theirs Outcome, known bool) Finding {
	f := Finding{
		Kind: MissingThere, Tenant: e.Tenant, Payment: e.Payment.String(), Operation: e.Kind,
		ProcessorKey: e.ProcessorKey, ProcessorID: p.ProcessorID,
		Ours: entryHere, Theirs: unknownThere, OurAmount: &e.Amount, Currency: e.Currency,
	}
	if known {
		f.Kind, f.Theirs = StateMismatch, string(theirs.Verdict)
		if theirs.Verdict == "" {
			f.Theirs = pendingThere
		}
	}
	return f
}

// unheld is an authorization of ours that the processor has no trace of.
func unheld(p *Payment, key string) Finding {
	return Finding{
		Kind: MissingThere, Tenant: p.Tenant, Payment: p.ID.String(), Operation: Authorize,
		ProcessorKey: key, ProcessorID: p.ProcessorID,
		Ours: string(p.State), Theirs: unknownThere, OurAmount: &p.Amount.Minor, Currency: p.Amount.Currency,
	}
}

// overdue is an operation of ours that is open although the processor knows
// what became of it.
func overdue(p *Payment, key string, theirs Outcome) Finding {
	amount := money.Amount{Currency: p.Amount.Currency, Minor: p.Open.Amount}
	return Finding{
		Kind: Undecided, Tenant: p.Tenant, Payment: p.ID.String(), Operation: p.Open.Kind,
		ProcessorKey: key, ProcessorID: theirs.ProcessorID,
		Ours: openHere, Theirs: string(theirs.Verdict), OurAmount: &amount.Minor, Currency: amount.Currency,
	}
}
