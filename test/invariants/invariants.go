// Package invariants checks what must hold of orders and payments whatever
// happened to the processes, the network and the database:
//
//  1. At most one processor charge for each payment; what the processor holds
//     is what payments believes; and it is above zero exactly for paid orders.
//  2. Every acknowledged order survives, every OK for a key has the same bytes,
//     and the answers of a key are those of one that is used once.
//  3. The ledger balances, and refunds never exceed captures.
//  4. No order or payment stays undecided past its published bound.
//  5. A refused key (used with another request, expired) changed nothing.
//
// It looks at the databases of both services, at the processor's own ledger,
// and at what clients remember: each can be wrong where the others are right.
// Its code imports no service, so that it cannot share a service's mistakes.
package invariants

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultBound is for how long an order or a payment may be undecided while
// payments and its processor answer.
const DefaultBound = 30 * time.Second

// Sources are what the checker looks at.
type Sources struct {
	// Orders and Payments are the services' databases.
	Orders, Payments *pgxpool.Pool
	// SandboxURL is where the processor answers.
	SandboxURL string
	// History is what clients did and saw; it may be nil.
	History []Attempt
	// Bound is for how long something may be undecided; DefaultBound if zero.
	Bound time.Duration
}

// Attempt is one request of a client, and what became of it.
type Attempt struct {
	// Sent is when it was sent, At when it was answered, Via how it was sent. A
	// history whose attempts lack Sent is not checked for linearizability.
	Sent, At time.Time
	Via      string
	// Encoding is "proto" or "json": bytes are compared within one encoding.
	Encoding string
	// Key is its idempotency key.
	Key string
	// Request tells requests with one key apart: what is asked, whoever asks.
	Request string
	// Marker is a shipping note that no other request carries; empty if the
	// request is a repeated one.
	Marker string
	// OK says that it was answered with success, Replayed that the answer was
	// marked as a stored one.
	OK, Replayed bool
	// Body is the answer's bytes; Order and State what they say.
	Body  []byte
	Order uuid.UUID
	State string
	// Refusal is the reason of a typed error.
	Refusal string
	// Failure is what else went wrong.
	Failure string
}

// Violation is an invariant that does not hold.
type Violation struct {
	// Invariant is its number in the package documentation.
	Invariant int `json:"invariant"`
	// Subject names the order, payment or key it was seen on.
	Subject string `json:"subject"`
	// Text says what is wrong.
	Text string `json:"text"`
	// History is all that is known of the subject, in the order of time where
	// there is one.
	History []string `json:"history,omitempty"`
}

// String is the violation as a report prints it.
func (v Violation) String() string {
	text := fmt.Sprintf("invariant %d, %s: %s", v.Invariant, v.Subject, v.Text)
	for _, line := range v.History {
		text += "\n    " + line
	}
	return text
}

// Result is what a check has found and how much it looked at.
type Result struct {
	Violations []Violation `json:"violations"`
	// Audited counts what was looked at.
	Audited Audited `json:"audited"`
}

// Audited counts what a check has looked at.
type Audited struct {
	Orders     int `json:"orders"`
	Payments   int `json:"payments"`
	Entries    int `json:"entries"`
	Operations int `json:"processor_operations"`
	Attempts   int `json:"attempts"`
}

// Check reads everything and checks every invariant. It is meant for a quiet
// system: see [AwaitQuiescence].
func Check(ctx context.Context, s Sources) (Result, error) {
	evidence, err := collect(ctx, s)
	if err != nil {
		return Result{}, err
	}
	return evidence.check(), nil
}

// check is the whole checker without I/O.
func (e *evidence) check() Result {
	result := Result{Audited: Audited{
		Orders:     len(e.orders),
		Payments:   len(e.payments),
		Entries:    len(e.entries),
		Operations: len(e.operations),
		Attempts:   len(e.attempts),
	}}
	for _, invariant := range []func(*evidence) []Violation{
		oneCharge, acknowledgedSurvives, linearizable, ledgerBalances, nothingUndecided, refusedChangedNothing,
	} {
		result.Violations = append(result.Violations, invariant(e)...)
	}
	for i := range result.Violations {
		result.Violations[i].History = e.history(result.Violations[i].Subject)
	}
	slices.SortStableFunc(result.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Invariant, b.Invariant), strings.Compare(a.Subject, b.Subject))
	})
	return result
}
