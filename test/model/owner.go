package model

// Model is a configuration to explore.
type Model struct {
	// Owners is how many attempts may be alive at once, at most [MaxOwners].
	Owners int
	// UnderWay is how many requests to the provider may be on their way with
	// nobody waiting for them.
	UnderWay int
	// Without takes protections out, which must then be seen.
	Without Protections
}

// Protections are the parts of the protocol that a control takes out.
type Protections struct {
	Unique      bool // a key may be claimed twice, and ids are not derived
	Fingerprint bool // what a key was used for is not compared
	OwnEpoch    bool // who learns late that it owns the key takes the epoch that it finds
	DerivedKey  bool // every send has a key of its own
	Seal        bool // an answer is given without being stored
	SealKept    bool // the second commit writes over a sealed answer
	Epoch       bool // the second commit does not ask who owns the key
	LedgerRule  bool // the second commit does not ask whether the order is open
	Completer   bool // nobody finishes what is left open
	Lookup      bool // the completer sends without looking up
	Horizon     bool // the completer sends whatever the age
	Margin      bool // a request may take longer than the margin
}

// emit takes a step and the state after it.
type emit func(Step, State)

// steps emits every step that is possible in s.
func (m Model) steps(s State, next emit) {
	for _, p := range []Payload{A, B} {
		m.arrive(s, p, next)
	}
	for i := range s.Owners {
		m.own(s, i, next)
	}
	for i := range s.Rows {
		m.takeOver(s, uint8(i), next)
	}
	m.arriveLate(s, next)
	m.age(s, next)
	m.forget(s, next)
}

// own emits what one owner can do: its next step, or crash.
func (m Model) own(s State, i int, next emit) {
	switch s.Owners[i].At {
	case Nowhere:
		return
	case Unsure:
		m.claimAgain(s, i, next)
	case ToReadAge:
		m.readAge(s, i, next)
	case ToLookUp:
		m.lookUp(s, i, next)
	case ToSend:
		m.send(s, i, next)
		m.timeUp(s, i, next)
	case Waiting:
		m.arriveInTime(s, i, next)
		m.timeUp(s, i, next)
	case Deaf:
		m.timeUp(s, i, next)
	case ToComplete:
		m.complete(s, i, next)
	case ToSeal:
		m.seal(s, i, next)
	case Fenced:
		m.winner(s, i, next)
	}
	m.crash(s, i, next)
}

// arrive is a request with the key that reaches a replica: for the first time or
// again, from one client or several. The first one's commit makes it the owner;
// that connections are cut before the commit changes nothing and is left out. A
// duplicate reads. One that finds the key pending, or used for something else,
// is refused without a change, so there is no step for it.
//
// Code: idempotency.Store.BeginInsert, idempotency.Store.BeginModify,
// idempotency.Store.claim, idempotency.Store.settle, idempotency.Store.admit.
func (m Model) arrive(s State, p Payload, next emit) {
	row := 0
	if m.Without.Unique && s.Rows[0].Payload != NoPayload {
		row = 1
	}
	if s.Rows[row].Payload == NoPayload {
		place := s.free(m.Owners)
		if place < 0 {
			return
		}
		s.Rows[row] = Row{Payload: p, Epoch: 1, Order: Pending}
		s.Owners[place] = Owner{At: ToSend, Row: uint8(row), Epoch: 1}
		next(Step{Kind: Claims, Payload: p}, s)
		s.Owners[place].At = Unsure
		next(Step{Kind: ClaimCut, Payload: p}, s)
		return
	}
	stored := s.Rows[row]
	switch {
	case stored.Answer == None: // 409
	case stored.Payload == p:
		s.tell(uint8(row), stored.Answer)
		next(Step{Kind: IsReplayed, Payload: p, Outcome: stored.Answer}, s)
	case m.Without.Fingerprint:
		s.Breach = StrangerTold
		next(Step{Kind: IsToldAnothers, Payload: p, Outcome: stored.Answer}, s)
	default: // 422
	}
}

// claimAgain sends the first commit once more after a cut connection. The row's
// op tells that it was written by this call.
//
// Code: idempotency.Store.settle, idempotency.Store.begun.
func (m Model) claimAgain(s State, i int, next emit) {
	o := s.Owners[i]
	row := s.Rows[o.Row]
	step := Step{Kind: ClaimsAgain, Owner: o}
	if row.Answer != None {
		s.Owners[i] = Owner{}
		s.tell(o.Row, row.Answer)
		step.Kind, step.Outcome = GivesWinners, row.Answer
		next(step, s)
		return
	}
	s.Owners[i].At = ToSend
	if m.Without.OwnEpoch {
		s.Owners[i].Epoch = row.Epoch
	}
	next(step, s)
}

// send asks the provider, outside any transaction.
//
// Code: payments.operations.first, payments.operations.find, payments.send,
// orders.payments.charge, idempotency.Attempt.ProviderKey, idempotency.Attempt.Child.
func (m Model) send(s State, i int, next emit) {
	step := Step{Kind: Sends, Owner: s.Owners[i]}
	s.Owners[i].At = Waiting
	next(step, s)
}

// timeUp ends an owner's time for the external call, at any moment: it may be
// slow, or the provider. A request that was sent stays under way. The first
// owner goes on to seal; a completer leaves the key to the next sweep.
//
// Code: idempotency.Attempt.Context, idempotency.Completer.work,
// idempotency.Attempt.postpone.
func (m Model) timeUp(s State, i int, next emit) {
	o := s.Owners[i]
	if o.At == Waiting {
		if int(s.Provider.UnderWay) == m.UnderWay {
			return // a bound of the exploration: first this one must arrive or be lost
		}
		s.Provider.UnderWay++
	}
	step := Step{Kind: TimeUp, Owner: o}
	if o.Completer {
		step.Kind = GivesUp
		s.Owners[i] = Owner{}
	} else {
		s.Owners[i].At = ToSeal
	}
	next(step, s)
}

// complete is the second commit: the key, the order and the ledger, or none of
// them. Cut before it is told, the owner sends it again and is fenced by itself.
//
// Code: idempotency.Attempt.Complete, idempotency.Attempt.decide,
// payments.operations.close, payments.writeClosed, orders.finisher.decide.
func (m Model) complete(s State, i int, next emit) {
	o, row := s.Owners[i], &s.Rows[s.Owners[i].Row]
	step := Step{Owner: o, Outcome: o.Heard}
	switch {
	case !m.Without.Epoch && (o.Epoch != row.Epoch || row.Decided):
		step.Kind = IsFenced
		s.Owners[i] = Owner{}
		if !o.Completer {
			s.Owners[i] = Owner{At: Fenced, Row: o.Row, Epoch: o.Epoch, Overtaken: o.Overtaken}
		}
		next(step, s)
		return
	case !m.Without.LedgerRule && row.Order != Pending:
		step.Kind = CompleteUndone
		s.Owners[i] = Owner{}
		next(step, s)
		return
	}
	if o.Overtaken {
		s.Breach = LoserWrote
	}
	row.Decided, row.Order = true, o.Heard
	if o.Heard == Paid {
		row.Entries = min(row.Entries+1, 2)
	}
	if !row.Sealed || m.Without.SealKept {
		row.Answer = o.Heard
	}
	cut := s
	step.Kind = Completes
	s.Owners[i] = Owner{}
	if !o.Completer { // somebody waits for the answer
		s.tell(o.Row, row.Answer)
	}
	next(step, s)
	step.Kind = CompleteCut
	next(step, cut)
}

// seal stores the answer before it is given while the outcome is not known. The
// owner leaves; that Release ends the lease adds nothing here, where leases may
// end at any moment.
//
// Code: idempotency.Attempt.Seal, idempotency.Attempt.Release, payments.api.firstTry,
// orders.api.firstAttempt.
func (m Model) seal(s State, i int, next emit) {
	o, row := s.Owners[i], &s.Rows[s.Owners[i].Row]
	step := Step{Owner: o, Outcome: Pending}
	switch {
	case m.Without.Seal:
		step.Kind = AnswersUnsealed
	case o.Epoch != row.Epoch || row.Sealed || row.Decided:
		step.Kind = IsFenced
		s.Owners[i].At = Fenced
		next(step, s)
		return
	default:
		if o.Overtaken {
			s.Breach = LoserWrote
		}
		row.Sealed, row.Answer = true, Pending
		step.Kind = Seals
	}
	s.Owners[i] = Owner{}
	cut := s
	s.tell(o.Row, Pending)
	next(step, s)
	if step.Kind == Seals {
		step.Kind = SealCut
		next(step, cut)
	}
}

// winner gives the answer of whoever has taken over, or none if there is none in
// time.
//
// Code: idempotency.Attempt.winner.
func (m Model) winner(s State, i int, next emit) {
	o := s.Owners[i]
	step := Step{Kind: KnowsNothing, Owner: o}
	s.Owners[i] = Owner{}
	if answer := s.Rows[o.Row].Answer; answer != None {
		step.Kind, step.Outcome = GivesWinners, answer
		s.tell(o.Row, answer)
	}
	next(step, s)
}

// crash ends an owner wherever it is. What it sent stays under way.
//
// Code: none.
func (m Model) crash(s State, i int, next emit) {
	step := Step{Kind: Crashes, Owner: s.Owners[i]}
	if s.Owners[i].At == Waiting && int(s.Provider.UnderWay) < m.UnderWay {
		s.Provider.UnderWay++
	}
	s.Owners[i] = Owner{}
	next(step, s)
}

// tell notes that an OK answer was given. Whether it reaches the client makes no
// difference: it may.
func (s *State) tell(row uint8, answer Outcome) {
	told := Told{row, answer}
	if s.Told.Answer == None {
		s.Told = told
	} else if s.Told != told && s.Breach == NoBreach {
		s.Breach = TwoAnswers
	}
}
