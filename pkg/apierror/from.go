package apierror

import (
	"context"
	"errors"
	"maps"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// From types any error. Typed errors, and statuses with our ErrorInfo, keep
// what they say. Context errors become DEADLINE and CANCELLED. Bare statuses
// that the transport makes get a reason by their code. Everything else is a
// bug: INTERNAL, with an error id that the log has, and nothing else.
//
// From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.reason != ReasonInternal || e.metadata[metadataErrorID] != "" {
			return e
		}
		return internal(err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return New(ReasonDeadline, "the request took longer than it may", WithCause(err))
	case errors.Is(err, context.Canceled):
		return New(ReasonCancelled, "the request was cancelled", WithCause(err))
	}
	if e := fromStatus(err); e != nil {
		return e
	}
	if st, ok := statusOf(err); ok {
		if reason, ok := reasonOfCode[st.Code()]; ok {
			message := st.Message()
			if st.Code() == codes.Unavailable {
				// The transport's text names addresses.
				message = "something this server needs is not available"
			}
			return New(reason, message, WithCause(err))
		}
	}
	return internal(err)
}

// reasonOfCode types the statuses that gRPC itself answers with. What is not
// here is a status that some code made without a reason, and becomes INTERNAL:
// its text was not written for clients.
var reasonOfCode = map[codes.Code]Reason{
	codes.Canceled:          ReasonCancelled,
	codes.DeadlineExceeded:  ReasonDeadline,
	codes.InvalidArgument:   ReasonMalformedRequest,
	codes.NotFound:          ReasonNotFound,
	codes.Unimplemented:     ReasonUnknownMethod,
	codes.Unauthenticated:   ReasonCredentialsInvalid,
	codes.PermissionDenied:  ReasonPermissionDenied,
	codes.ResourceExhausted: ReasonMessageTooLarge,
	codes.Unavailable:       ReasonDependencyUnavailable,
}

func internal(cause error) *Error {
	id := uuid.NewString()
	return New(ReasonInternal, "something went wrong here; the error id tells the operators what",
		WithMetadata(metadataErrorID, id), WithCause(cause))
}

const metadataErrorID = "error_id"

// statusOf returns the status inside an error as it was made. status.FromError
// would put the text that wraps it into the message, which was not written for
// clients.
func statusOf(err error) (*status.Status, bool) {
	var inner interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &inner) {
		return nil, false
	}
	return inner.GRPCStatus(), true
}

// fromStatus reads our details back out of a status, or returns nil.
func fromStatus(err error) *Error {
	st, ok := statusOf(err)
	if !ok || st.Code() == codes.OK {
		return nil
	}
	var (
		e     = &Error{message: st.Message(), cause: err}
		typed bool
	)
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != Domain {
				continue
			}
			e.reason, typed = Reason(d.GetReason()), true
			if _, known := kindOf[e.reason]; !known {
				// A newer peer's reason: its code is all we can go by.
				e.reason = reasonOfCode[st.Code()]
				if e.reason == "" {
					e.reason = ReasonInternal
				}
			}
			e.metadata = maps.Clone(d.GetMetadata())
			delete(e.metadata, metadataRetry)
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.violations = append(e.violations, Violation{Field: v.GetField(), Description: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.retryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	if !typed {
		return nil
	}
	return e
}
