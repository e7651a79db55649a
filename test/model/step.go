package model

import "fmt"

// Kind is what a step is.
type Kind uint8

// The kinds of step.
const (
	Claims Kind = iota
	ClaimCut
	ClaimsAgain
	IsReplayed
	IsToldAnothers
	Sends
	TimeUp
	GivesUp
	Answered
	AnswerLost
	RequestLost
	Completes
	CompleteCut
	CompleteUndone
	IsFenced
	GivesWinners
	KnowsNothing
	Seals
	SealCut
	AnswersUnsealed
	Crashes
	TakesOver
	ReadsAge
	FindsNothingOpen
	LooksUp
	LookupLost
	ArrivesLate
	LostLate
	TimePasses
	Forgets
)

// faults are the steps without which everything must still come to an end.
var faults = map[Kind]bool{
	ClaimCut: true, AnswerLost: true, RequestLost: true, CompleteCut: true, SealCut: true, Crashes: true, LookupLost: true, LostLate: true,
}

// Step is one indivisible step of somebody.
type Step struct {
	Kind    Kind
	Payload Payload
	Owner   Owner   // who, as it was before
	Outcome Outcome // what was heard, done or answered
	Age     Age
}

// String tells the step as a sentence.
func (s Step) String() string {
	who := "the first owner"
	if s.Owner.Completer {
		who = fmt.Sprintf("the completer of epoch %d", s.Owner.Epoch)
	}
	payload := map[Payload]string{A: "payload A", B: "another payload"}[s.Payload]
	switch s.Kind {
	case Claims:
		return "a request with " + payload + " arrives; its first commit makes the key pending"
	case ClaimCut:
		return "a request with " + payload + " arrives; its first commit happens, but the connection is cut before it is told"
	case ClaimsAgain:
		return who + " sends its first commit again and finds that it had happened"
	case IsReplayed:
		return "a request with " + payload + " arrives and is answered what is stored: " + s.Outcome.String()
	case IsToldAnothers:
		return "a request with " + payload + " arrives and is told the answer to the other: " + s.Outcome.String()
	case Sends:
		return who + " sends the charge"
	case TimeUp:
		return who + " runs out of time and knows nothing"
	case GivesUp:
		return who + " leaves the key to the next sweep"
	case Answered:
		return "the charge of " + who + " arrives: " + s.Outcome.String() + ", and the answer reaches it"
	case AnswerLost:
		return "the charge of " + who + " arrives: " + s.Outcome.String() + ", but the answer is lost"
	case RequestLost:
		return "the charge of " + who + " is lost on its way"
	case Completes:
		return who + " makes its second commit: " + s.Outcome.String()
	case CompleteCut:
		return who + " makes its second commit: " + s.Outcome.String() + ", but the connection is cut before it is told"
	case CompleteUndone:
		return who + " tries its second commit, which is undone because the order was decided"
	case IsFenced:
		return "the write of " + who + " matches no row: it was taken over, or had committed before"
	case GivesWinners:
		return who + " reads and gives the answer that is stored: " + s.Outcome.String()
	case KnowsNothing:
		return who + " finds no answer yet and says: send it again with the same key"
	case Seals:
		return who + " seals the answer and gives it: " + s.Outcome.String()
	case SealCut:
		return who + " seals the answer, but the connection is cut: it says, send it again with the same key"
	case AnswersUnsealed:
		return who + " answers without sealing: " + s.Outcome.String()
	case Crashes:
		return who + " crashes"
	case TakesOver:
		return fmt.Sprintf("the lease is over: a completer takes over under epoch %d", s.Owner.Epoch)
	case ReadsAge:
		return who + " reads how old the operation is: " + s.Age.String()
	case FindsNothingOpen:
		return who + " finds that the order is decided"
	case LooksUp:
		return who + " looks the key up at the provider: " + s.Outcome.String()
	case LookupLost:
		return who + " looks the key up at the provider and gets no answer"
	case ArrivesLate:
		return "a charge that nobody waits for arrives: " + s.Outcome.String()
	case LostLate:
		return "a charge that nobody waits for is lost"
	case TimePasses:
		return "time passes: the operation's age is now " + s.Age.String()
	case Forgets:
		return "the provider forgets the key"
	}
	return fmt.Sprintf("step %d", s.Kind)
}

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"nothing", "pending", "paid", "declined", "never done"}[o]
}

// String names the age.
func (a Age) String() string {
	return [...]string{"inside the provider's horizon", "around the horizon", "past the horizon"}[a]
}
