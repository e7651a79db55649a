package model

// takeOver gives an undecided key a new owner. The lease of the one before may be
// over at any moment, however alive that one is.
//
// Code: idempotency.Completer.takeOver.
func (m Model) takeOver(s State, row uint8, next emit) {
	r := &s.Rows[row]
	place := s.free(m.Owners)
	if m.Without.Completer || r.Payload == NoPayload || r.Decided || place < 0 {
		return
	}
	r.Epoch++
	for i := range s.Owners {
		if s.Owners[i].At != Nowhere && s.Owners[i].Row == row {
			s.Owners[i].Overtaken = true
		}
	}
	s.Owners[place] = Owner{At: ToReadAge, Completer: true, Row: row, Epoch: r.Epoch}
	next(Step{Kind: TakesOver, Owner: s.Owners[place]}, s)
}

// readAge reads the order and for how long its operation has been open.
//
// Code: payments.operations.resumer, payments.store.getOpen.
func (m Model) readAge(s State, i int, next emit) {
	step := Step{Kind: ReadsAge, Owner: s.Owners[i], Age: s.Age}
	if s.Rows[s.Owners[i].Row].Order != Pending {
		step.Kind = FindsNothingOpen
		s.Owners[i] = Owner{}
		next(step, s)
		return
	}
	s.Owners[i].At, s.Owners[i].Age = ToLookUp, s.Age
	if m.Without.Lookup {
		s.Owners[i] = m.afterNoTrace(s.Owners[i])
	}
	next(step, s)
}

// lookUp asks the provider's books before anything is sent again.
//
// Code: payments.operations.find, payments.Processor.Lookup.
func (m Model) lookUp(s State, i int, next emit) {
	o := s.Owners[i]
	found := s.Provider.Books
	if m.Without.DerivedKey {
		found = None // a new key has no past
	}
	if found != None {
		s.Owners[i].At, s.Owners[i].Age, s.Owners[i].Heard = ToComplete, 0, found
	} else {
		s.Owners[i] = m.afterNoTrace(o)
	}
	next(Step{Kind: LooksUp, Owner: o, Outcome: found}, s)
	s.Owners[i] = Owner{}
	next(Step{Kind: LookupLost, Owner: o}, s)
}

// afterNoTrace is where an owner goes on whose key the provider has no trace of.
//
// Code: payments.operations.find.
func (m Model) afterNoTrace(o Owner) Owner {
	age := o.Age
	o.Age = 0
	switch {
	case age == Inside || m.Without.Horizon:
		o.At = ToSend
	case age == Around:
		return Owner{} // later
	default:
		o.At, o.Heard = ToComplete, NeverDone
	}
	return o
}
