package apierror

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// Reason names a kind of error. It is stable: clients may switch on it, and
// text may change around it.
type Reason string

// The reasons, in the order of the table below, which says what each means.
const (
	ReasonInvalidField          Reason = "INVALID_FIELD"
	ReasonMalformedRequest      Reason = "MALFORMED_REQUEST"
	ReasonUnknownField          Reason = "UNKNOWN_FIELD"
	ReasonUnsupportedMediaType  Reason = "UNSUPPORTED_MEDIA_TYPE"
	ReasonMessageTooLarge       Reason = "MESSAGE_TOO_LARGE"
	ReasonInvalidPageToken      Reason = "INVALID_PAGE_TOKEN"
	ReasonInvalidResumeToken    Reason = "INVALID_RESUME_TOKEN"
	ReasonKeyMissing            Reason = "KEY_MISSING"
	ReasonKeyMalformed          Reason = "KEY_MALFORMED"
	ReasonKeyFromFuture         Reason = "KEY_FROM_FUTURE"
	ReasonKeyInFlight           Reason = "KEY_IN_FLIGHT"
	ReasonKeyReused             Reason = "KEY_REUSED"
	ReasonKeyExpired            Reason = "KEY_EXPIRED"
	ReasonNotFound              Reason = "NOT_FOUND"
	ReasonAlreadyExists         Reason = "ALREADY_EXISTS"
	ReasonEtagMismatch          Reason = "ETAG_MISMATCH"
	ReasonWrongState            Reason = "WRONG_STATE"
	ReasonOperationOpen         Reason = "OPERATION_OPEN"
	ReasonCredentialsMissing    Reason = "CREDENTIALS_MISSING"
	ReasonCredentialsInvalid    Reason = "CREDENTIALS_INVALID"
	ReasonPermissionDenied      Reason = "PERMISSION_DENIED"
	ReasonRateLimited           Reason = "RATE_LIMITED"
	ReasonTooManyStreams        Reason = "TOO_MANY_STREAMS"
	ReasonBudgetSpent           Reason = "BUDGET_SPENT"
	ReasonOverloaded            Reason = "OVERLOADED"
	ReasonBreakerOpen           Reason = "BREAKER_OPEN"
	ReasonDraining              Reason = "DRAINING"
	ReasonDependencyUnavailable Reason = "DEPENDENCY_UNAVAILABLE"
	ReasonOutcomeUnknown        Reason = "OUTCOME_UNKNOWN"
	ReasonGenerationInterrupted Reason = "GENERATION_INTERRUPTED"
	ReasonProviderRejected      Reason = "PROVIDER_REJECTED"
	ReasonUnsupported           Reason = "UNSUPPORTED"
	ReasonDeadline              Reason = "DEADLINE"
	ReasonCancelled             Reason = "CANCELLED"
	ReasonUnknownMethod         Reason = "UNKNOWN_METHOD"
	ReasonMethodNotAllowed      Reason = "METHOD_NOT_ALLOWED"
	ReasonInternal              Reason = "INTERNAL"
)

// Retry says what a client may do next.
type Retry string

// The advice that an error can give.
const (
	// RetrySameKey: send the same request again, with the same idempotency key.
	RetrySameKey Retry = "same_key"
	// RetryNewKey: nothing will change for this key; a corrected request, or a
	// new attempt, needs a new one.
	RetryNewKey Retry = "new_key"
	// RetryNever: the same request will fail again.
	RetryNever Retry = "never"
)

// kind is what all errors of one reason have in common.
type kind struct {
	reason Reason
	code   codes.Code
	http   int
	retry  Retry
	doc    string
}

// statusClientClosedRequest is what proxies log when the client left; nobody
// is there to read it.
const statusClientClosedRequest = 499

// kinds is the one table of reasons. docs/errors.md is generated from it.
var kinds = []kind{
	{ReasonInvalidField, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "A field breaks a rule; every broken rule is listed."},
	{ReasonMalformedRequest, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "The request cannot be decoded: bad JSON or protobuf, a duplicate field, a number out of range, invalid UTF-8."},
	{ReasonUnknownField, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "The JSON has a field that the request does not have; it is named."},
	{ReasonUnsupportedMediaType, codes.InvalidArgument, http.StatusUnsupportedMediaType, RetryNever, "The body is not application/json."},
	{ReasonMessageTooLarge, codes.ResourceExhausted, http.StatusRequestEntityTooLarge, RetryNever, "The request is larger than this server reads."},
	{ReasonInvalidPageToken, codes.InvalidArgument, http.StatusBadRequest, RetryNever, "The page token is not one of ours, or belongs to another query."},
	{ReasonInvalidResumeToken, codes.InvalidArgument, http.StatusBadRequest, RetryNever, "The resume token is not one of ours, belongs to something else, or is ahead of what there is: begin again without one."},
	{ReasonKeyMissing, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "The method needs an Idempotency-Key."},
	{ReasonKeyMalformed, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "The idempotency key is not 1 to 255 visible ASCII characters."},
	{ReasonKeyFromFuture, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "The key's time lies too far ahead of the server's, which `server_time` tells."},
	{ReasonKeyInFlight, codes.Aborted, http.StatusConflict, RetrySameKey, "A request with this key is being worked on."},
	{ReasonKeyReused, codes.FailedPrecondition, http.StatusUnprocessableEntity, RetryNewKey, "The key was used with another request."},
	{ReasonKeyExpired, codes.FailedPrecondition, http.StatusGone, RetryNewKey, "The key is older than answers are kept; nothing was executed. `server_time` tells the server's time."},
	{ReasonNotFound, codes.NotFound, http.StatusNotFound, RetryNever, "It does not exist, or belongs to another tenant."},
	{ReasonAlreadyExists, codes.AlreadyExists, http.StatusConflict, RetryNever, "Something that must be unique exists already."},
	{ReasonEtagMismatch, codes.FailedPrecondition, http.StatusPreconditionFailed, RetryNever, "The resource changed since the etag was read: read it again."},
	{ReasonWrongState, codes.FailedPrecondition, http.StatusConflict, RetryNever, "The resource's state does not allow this."},
	{ReasonOperationOpen, codes.Aborted, http.StatusConflict, RetrySameKey, "Another operation on the resource is not decided yet."},
	{ReasonCredentialsMissing, codes.Unauthenticated, http.StatusUnauthorized, RetrySameKey, "The request carries no credentials."},
	{ReasonCredentialsInvalid, codes.Unauthenticated, http.StatusUnauthorized, RetrySameKey, "The credentials are not valid."},
	{ReasonPermissionDenied, codes.PermissionDenied, http.StatusForbidden, RetryNever, "The credentials do not allow this method."},
	{ReasonRateLimited, codes.ResourceExhausted, http.StatusTooManyRequests, RetrySameKey, "Too many requests."},
	{ReasonTooManyStreams, codes.ResourceExhausted, http.StatusTooManyRequests, RetrySameKey, "This replica has as many streams open as it holds, or as many of this tenant; another one may have room."},
	{ReasonBudgetSpent, codes.ResourceExhausted, http.StatusTooManyRequests, RetryNever, "A budget is spent; metadata tells until when."},
	{ReasonOverloaded, codes.Unavailable, http.StatusServiceUnavailable, RetrySameKey, "The server sheds load."},
	{ReasonBreakerOpen, codes.Unavailable, http.StatusServiceUnavailable, RetrySameKey, "A dependency is failing and is not being called."},
	{ReasonDraining, codes.Unavailable, http.StatusServiceUnavailable, RetrySameKey, "This replica is leaving, or the connection is old; another one will answer. A stream goes on from `resume_token`."},
	{ReasonDependencyUnavailable, codes.Unavailable, http.StatusServiceUnavailable, RetrySameKey, "Something this server needs is not available."},
	{ReasonOutcomeUnknown, codes.Unavailable, http.StatusServiceUnavailable, RetrySameKey, "It may or may not have happened; the same key finds out."},
	{ReasonGenerationInterrupted, codes.Aborted, http.StatusBadGateway, RetryNewKey, "An answer of a language model was cut before its end. What had come is paid for; the same key will not be answered."},
	{ReasonProviderRejected, codes.InvalidArgument, http.StatusBadRequest, RetryNewKey, "The provider of a language model refuses the request itself: its words are in the message, and another provider would say the same."},
	{ReasonUnsupported, codes.Unimplemented, http.StatusNotImplemented, RetryNever, "The request asks for something that this server, or the provider behind it, cannot do; it is named."},
	{ReasonDeadline, codes.DeadlineExceeded, http.StatusGatewayTimeout, RetrySameKey, "It took longer than the client, or the method, allows."},
	{ReasonCancelled, codes.Canceled, statusClientClosedRequest, RetrySameKey, "The client went away."},
	{ReasonUnknownMethod, codes.Unimplemented, http.StatusNotFound, RetryNever, "There is no such method or path."},
	{ReasonMethodNotAllowed, codes.Unimplemented, http.StatusMethodNotAllowed, RetryNever, "The path exists, but not with this HTTP method."},
	{ReasonInternal, codes.Internal, http.StatusInternalServerError, RetrySameKey, "A bug. `error_id` is in the server's log."},
}

var kindOf = func() map[Reason]kind {
	m := make(map[Reason]kind, len(kinds))
	for _, k := range kinds {
		m[k.reason] = k
	}
	return m
}()
