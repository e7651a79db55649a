package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Request is one generation that a client asked for, with its first attempt.
type Request struct {
	// ID is the gateway's own, best a UUIDv7. Reserving with an id again is
	// reserving once.
	ID uuid.UUID
	// Tenant, Route, Protocol and Stream are for reports.
	Tenant, Route, Protocol string
	Stream                  bool
	// Key is the client's Idempotency-Key; empty is none. It counts for one
	// tenant.
	Key string
	// Fingerprint is a hash of what makes a request the same one, and is needed
	// with a key.
	Fingerprint []byte
	// Budgets are those that every attempt must fit into, at most one of a name.
	Budgets []Budget
	// Lease is how long the attempt is left to its owner unless renewed.
	Lease time.Duration
	// First is the first attempt.
	First Attempt
}

// Attempt is one dispatch to a provider.
type Attempt struct {
	// Provider, Model and Key are where it goes; Key is the name of the
	// provider's key.
	Provider, Model, Key string
	// Worst is the dearest it can be, in nano-dollars.
	Worst int64
	// PriceVersion is the version of the price table that says so.
	PriceVersion string
}

// AttemptID names an attempt: the request, and its number from 1.
type AttemptID struct {
	Request uuid.UUID
	Number  int
}

// String is the name by which the provider knows it, "<uuid>.<number>".
func (id AttemptID) String() string { return id.Request.String() + "." + strconv.Itoa(id.Number) }

// ParseAttemptID reads what String wrote.
func ParseAttemptID(s string) (AttemptID, error) {
	request, number, _ := strings.Cut(s, ".")
	id, err := uuid.Parse(request)
	if err != nil {
		return AttemptID{}, fmt.Errorf("attempt %q: %w", s, err)
	}
	n, err := strconv.ParseInt(number, 10, 16)
	if err != nil || n < 1 {
		return AttemptID{}, fmt.Errorf("attempt %q has no number from 1", s)
	}
	return AttemptID{Request: id, Number: int(n)}, nil
}

// State is where an attempt stands.
type State string

// The states of an attempt.
const (
	// Dispatched has an owner that waits for the provider.
	Dispatched State = "dispatched"
	// Unknown may have been billed; nobody knows yet. Its reservation stays.
	Unknown State = "unknown"
	// Settled was billed.
	Settled State = "settled"
	// Failed was not billed.
	Failed State = "failed"
)

// Usage counts tokens. Input excludes what was read from or written to a cache;
// Reasoning is part of Output. The fields are those of wire.Usage, so that one
// converts to the other.
type Usage struct {
	Input, CacheRead, CacheWrite, CacheWrite1h, Output, Reasoning int64
}

// Outcome is how an attempt ended.
type Outcome struct {
	// State is Settled, Failed or Unknown.
	State State
	// Usage and Cost are of Settled. Cost is in nano-dollars.
	Usage Usage
	Cost  int64
	// Exact is that the provider said what it used; otherwise it is our
	// estimate.
	Exact bool
	// UpstreamID, Finish and Error are the provider's id of the generation, why
	// it ended, and what went wrong: a short text without prompts in it.
	UpstreamID, Finish, Error string
}

// Stored is an answer that is kept to be given again.
type Stored struct {
	// Status and ContentType are those of HTTP.
	Status      int
	ContentType string
	// Stream is that the body is the events of a stream.
	Stream bool
	Body   []byte
}

// Replay is the answer that an earlier request with the same key was given.
type Replay struct {
	Stored
	// Request is the one that was answered.
	Request uuid.UUID
}

const (
	// maxMoney keeps sums of a budget far from the end of int64.
	maxMoney = 1 << 53 // 9 million dollars
	// maxText is how much of a provider's text a row holds, in bytes.
	maxText = 500
)

func (r *Request) check() error {
	switch {
	case r.ID == uuid.Nil:
		return errors.New("ledger: a request without an id")
	case r.Tenant == "":
		return errors.New("ledger: a request without a tenant")
	case r.Lease <= 0:
		return errors.New("ledger: a request without a lease")
	case r.Key != "" && len(r.Fingerprint) == 0:
		return errors.New("ledger: an idempotency key without a fingerprint")
	}
	return r.First.check()
}

func (a *Attempt) check() error {
	if a.Worst < 0 || a.Worst > maxMoney {
		return fmt.Errorf("ledger: a worst case of %d nano-dollars", a.Worst)
	}
	return nil
}

func (o *Outcome) check() error {
	switch {
	case o.State != Settled && o.State != Failed && o.State != Unknown:
		return fmt.Errorf("ledger: an outcome cannot be %q", o.State)
	case o.Cost < 0 || o.Cost > maxMoney:
		return fmt.Errorf("ledger: a cost of %d nano-dollars", o.Cost)
	case o.State != Settled && o.Cost != 0:
		return fmt.Errorf("ledger: %s with a cost", o.State)
	}
	return nil
}

// text makes a provider's text fit to be stored: bounded, and without what
// Postgres refuses in text.
func text(s string) *string {
	if s == "" {
		return nil
	}
	if len(s) > maxText {
		s = s[:maxText]
	}
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	return &s
}
