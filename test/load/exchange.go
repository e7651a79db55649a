package load

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// Connections says what connection a request travels on. The difference
// matters most in a deploy: a new connection may be sent to a replica that is
// leaving, a reused one is on it already.
type Connections int

const (
	// Reused connections stay open between requests.
	Reused Connections = iota
	// New connections carry one request each.
	New
)

// String names the connections as a report does.
func (c Connections) String() string {
	if c == New {
		return "new connections"
	}
	return "reused connections"
}

// Sender sends one RPC to one target in one way. The transports' own retries
// are off, except what gRPC calls transparent: a stream that the server has
// certainly not looked at (those are counted).
type Sender interface {
	// Send performs one attempt.
	Send(ctx context.Context, key string, request proto.Message) Exchange
	// Name says how it sends, for reports.
	Name() string
	// Close closes every connection.
	Close()
}

// Exchange is one attempt and the answer to it, the same for gRPC and HTTP.
type Exchange struct {
	// Err says that the transport failed, so that there is no answer.
	Err error
	// OK says that the answer is a success: gRPC OK or HTTP 2xx.
	OK bool
	// Code is the status, such as "grpc UNAVAILABLE" or "http 503".
	Code string
	// Reason is the typed error's reason, if the answer gave one.
	Reason string
	// Detail is the error's message.
	Detail string
	// Retry is the typed error's advice: same_key, new_key or never.
	Retry string
	// RetryAfter is how long the server asked to wait.
	RetryAfter time.Duration
	// Body is the answer's bytes as they came over the wire.
	Body []byte
	// ResumeToken is where to go on with a stream that ended, if the answer said
	// so.
	ResumeToken string
	// Replayed says that the server marked the answer as stored.
	Replayed bool
	// Version is what the server says it runs; empty if it does not.
	Version string
	// TransparentRetries counts the transport's own.
	TransparentRetries int
}

// Failure judges the exchange for a caller who wanted success; nil means it was
// one.
func (e Exchange) Failure() *Failure {
	switch {
	case e.Err != nil:
		// Nothing is known of a request that was cut off, which is what an
		// idempotency key is for: it may be sent again.
		return &Failure{Kind: transportKind(e.Err), Detail: e.Err.Error(), Retryable: true}
	case e.OK:
		return nil
	default:
		kind := e.Code
		if e.Reason != "" {
			kind += " " + e.Reason
		}
		return &Failure{Kind: kind, Reason: e.Reason, Detail: e.Detail, Retryable: e.Retry == "same_key", RetryAfter: e.RetryAfter}
	}
}
