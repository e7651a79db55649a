package invariants

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// linearizable is the strict half of invariant 2: for each key there is an order of
// all that clients sent, each request at one instant between being sent and being
// answered, in which the key behaves as one that is used once (Herlihy and Wing,
// Linearizability, 1990). An answer that nobody got leaves open whether its
// request took effect, and when.
//
// The history of each key is checked by itself, as linearizability allows, by
// Porcupine (Athalye, 2017).
func linearizable(e *evidence) (found []Violation) {
	byKey := map[string][]Attempt{}
	for _, a := range e.attempts {
		if !a.Sent.IsZero() {
			byKey[a.Key] = append(byKey[a.Key], a)
		}
	}
	for key, attempts := range byKey {
		switch porcupine.CheckOperationsTimeout(onceModel, operations(attempts), checkBound) {
		case porcupine.Illegal:
			found = append(found, Violation{
				Invariant: 2, Subject: "key " + key,
				Text: fmt.Sprintf("no order of the %d requests with it explains their answers", len(attempts)),
			})
		case porcupine.Unknown:
			found = append(found, Violation{
				Invariant: 2, Subject: "key " + key,
				Text: fmt.Sprintf("its %d requests could not be put into an order within %s", len(attempts), checkBound),
			})
		}
	}
	return found
}

// checkBound is for how long one key's history is pondered. They are short.
const checkBound = 10 * time.Second

// used is what is known of a key: the request that used it, none if empty, and the
// answers that it gave, by encoding.
type used struct {
	request     string
	proto, json string
}

// answered is how a request ended.
type answered struct {
	outcome  string // "ok", "reused", or empty if nobody knows
	encoding string
	body     string
}

// onceModel is a key that is used once: the first request that takes effect is the
// one, its answer is the answer, and every other request is refused.
var onceModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{used{}} },
	Step: func(state, input, output any) []any {
		return once(state.(used), input.(string), output.(answered))
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		o := output.(answered)
		return fmt.Sprintf("%s → %s", input, cmp.Or(o.outcome, "no answer"))
	},
}).ToModel()

// once returns every state that a request may have left behind, none if it cannot
// have ended so.
func once(k used, request string, o answered) []any {
	mine := k.request == "" || k.request == request
	switch o.outcome {
	case "ok":
		if !mine {
			return nil
		}
		k.request = request
		known := &k.proto
		if o.encoding == "json" {
			known = &k.json
		}
		if *known != "" && *known != o.body {
			return nil
		}
		*known = o.body
		return []any{k}
	case "reused":
		if mine {
			return nil
		}
		return []any{k}
	default:
		if k.request != "" {
			return []any{k}
		}
		return []any{k, used{request: request}}
	}
}

// operations are the attempts at one key as Porcupine takes them. Those whose end
// nobody knows are open for ever; of several for the same request the first stands
// for all, since what one of them did no other does again.
func operations(attempts []Attempt) (all []porcupine.Operation) {
	attempts = slices.Clone(attempts)
	slices.SortFunc(attempts, func(a, b Attempt) int { return a.Sent.Compare(b.Sent) })
	open := map[string]bool{}
	for n, a := range attempts {
		operation := porcupine.Operation{
			ClientId: n, Input: a.Request, Call: a.Sent.UnixNano(), Return: a.At.UnixNano(), Output: a.answered(),
		}
		if operation.Output == (answered{}) {
			if open[a.Request] {
				continue
			}
			open[a.Request] = true
			operation.Return = math.MaxInt64
		}
		all = append(all, operation)
	}
	return all
}

func (a Attempt) answered() answered {
	switch {
	case a.OK:
		return answered{"ok", a.Encoding, string(a.Body)}
	case a.Refusal == "KEY_REUSED":
		return answered{outcome: "reused"}
	default:
		return answered{}
	}
}
