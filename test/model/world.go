package model

// arriveInTime is a request that arrives, or is lost, while its owner waits.
//
// Code: payments.Processor.Charge.
func (m Model) arriveInTime(s State, i int, next emit) {
	o := s.Owners[i]
	m.perform(s, func(done Outcome, s State) {
		s.Owners[i].At, s.Owners[i].Heard = ToComplete, done
		next(Step{Kind: Answered, Owner: o, Outcome: done}, s)
		s.Owners[i].At, s.Owners[i].Heard = Deaf, None
		next(Step{Kind: AnswerLost, Owner: o, Outcome: done}, s)
	})
	s.Owners[i].At = Deaf
	next(Step{Kind: RequestLost, Owner: o}, s)
}

// arriveLate is a request that arrives, or is lost, when nobody waits any more.
//
// Code: payments.Processor.Charge.
func (m Model) arriveLate(s State, next emit) {
	if s.Provider.UnderWay == 0 {
		return
	}
	s.Provider.UnderWay--
	m.perform(s, func(done Outcome, s State) { next(Step{Kind: ArrivesLate, Outcome: done}, s) })
	next(Step{Kind: LostLate}, s)
}

// perform is what the provider does with a request: what it did before if it
// remembers the key, else one thing or the other.
//
// Code: payments.Processor.
func (m Model) perform(s State, after func(Outcome, State)) {
	if s.Provider.Remembers {
		after(s.Provider.Books, s)
		return
	}
	for _, done := range []Outcome{Paid, Declined} {
		s := s
		if s.Provider.Books == None {
			s.Provider.Books = done
		}
		s.Provider.Remembers = !m.Without.DerivedKey
		if done == Paid {
			s.Provider.Charges = min(s.Provider.Charges+1, 2)
		}
		after(done, s)
	}
}

// age lets the operation grow older.
//
// Code: none.
func (m Model) age(s State, next emit) {
	if s.Rows[0].Payload == NoPayload || s.Age == Past || s.Age == Around && !m.settled(s) {
		return
	}
	s.Age++
	next(Step{Kind: TimePasses, Age: s.Age}, s)
}

// forget is the end of the provider's horizon, somewhere around which our clock
// and its clock differ.
//
// Code: payments.Processor.Horizon.
func (m Model) forget(s State, next emit) {
	if !s.Provider.Remembers || s.Age == Inside || !m.settled(s) {
		return
	}
	s.Provider.Remembers = false
	next(Step{Kind: Forgets}, s)
}

// settled is the assumption about time: what was begun well inside the horizon
// has arrived or is lost, and nobody will still send on what it read there, when
// the margin around the horizon is over. Owners have contexts that end, so they
// cannot send later; payments does not start with a lease as long as the margin.
//
// Code: payments.operations.find, payments.marginOf, idempotency.Attempt.Context,
// payments.Config.fits.
func (m Model) settled(s State) bool {
	if m.Without.Margin {
		return true
	}
	if s.Provider.UnderWay > 0 {
		return false
	}
	for _, o := range s.Owners {
		switch o.At {
		case Unsure, ToSend, Waiting:
			return false
		case ToLookUp:
			if o.Age == Inside {
				return false
			}
		}
	}
	return true
}
