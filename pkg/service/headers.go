package service

import (
	"context"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
)

// The headers of the API besides HTTP's own.
const (
	headerKey       = "Idempotency-Key"
	headerReplayed  = "Idempotent-Replayed"
	headerRequestID = "X-Request-Id"
	headerVersion   = "Holdfast-Version"
	headerAttempts  = "Holdfast-Attempts"
	headerLastEvent = "Last-Event-Id" // as net/http spells it
)

// incoming are the request headers that become gRPC metadata. Everything else
// stays outside: what a client can send over HTTP should be a list.
// Authorization is passed on by the gateway itself.
var incoming = map[string]string{
	headerKey:       idempotency.KeyMetadata,
	"If-Match":      "if-match",
	"Traceparent":   "traceparent",
	"Tracestate":    "tracestate",
	headerRequestID: "x-request-id",
	headerLastEvent: LastEventMetadata,
}

// LastEventMetadata is the metadata in which a method that streams finds the id
// of the last server-sent event that a client has got: the resume token that the
// event had.
const LastEventMetadata = "last-event-id"

func matchIncoming(header string) (string, bool) {
	name, ok := incoming[header]
	return name, ok
}

// matchOutgoing says which gRPC header metadata becomes a response header.
func matchOutgoing(name string) (string, bool) {
	if strings.EqualFold(name, "retry-after") {
		return "Retry-After", true
	}
	return "", false
}

// noTrailers: what gRPC says in trailers HTTP says in headers.
func noTrailers(string) (string, bool) { return "", false }

// headersFromTrailers sets the headers that say what the trailers of a call did:
// whether its answer was replayed, how many attempts the calls made for it took,
// what is left of a limit, and whether the method will go.
func headersFromTrailers(ctx context.Context, w http.ResponseWriter) {
	md, ok := runtime.ServerMetadataFromContext(ctx)
	if !ok {
		return
	}
	setFromTrailers(md.TrailerMD, w.Header())
}

// setFromTrailers sets them from the trailers.
func setFromTrailers(trailers metadata.MD, h http.Header) {
	if values := trailers.Get(resilience.AttemptsTrailer); len(values) > 0 {
		h.Set(headerAttempts, values[0])
	}
	if values := trailers.Get(idempotency.ReplayedTrailer); len(values) > 0 {
		h.Set(headerReplayed, values[0])
	}
	ratelimit.HeadersFrom(trailers, h)
	policy.HeadersFrom(trailers, h)
}

// cleanHeaders puts request headers into the form that gRPC metadata has, and
// answers what is wrong with those that cannot be: gRPC would drop them, or
// fail the call as if it were our bug.
func cleanHeaders(h http.Header) *apierror.Error {
	if keys := h.Values(headerKey); len(keys) > 0 {
		if len(keys) > 1 {
			return apierror.New(apierror.ReasonKeyMalformed, "the request has more than one "+headerKey)
		}
		key := idempotency.UnquoteHeader(keys[0])
		if !visible(key) {
			return apierror.New(apierror.ReasonKeyMalformed, "the "+headerKey+" has characters other than visible ASCII")
		}
		h.Set(headerKey, key)
	}
	if tags := h.Values("If-Match"); len(tags) > 0 {
		tag := strings.Trim(strings.TrimSpace(tags[0]), `"`)
		if len(tags) > 1 || !visible(tag) || strings.HasPrefix(tag, "W/") {
			return apierror.New(apierror.ReasonInvalidField, "If-Match must be one entity tag, as an answer gave it",
				apierror.WithField("etag", "is not one entity tag"))
		}
		h.Set("If-Match", tag)
	}
	if ids := h.Values(headerLastEvent); len(ids) > 0 && (len(ids) > 1 || !visible(ids[0])) {
		return apierror.New(apierror.ReasonInvalidResumeToken, "Last-Event-ID must be one id, as an event had it",
			apierror.WithField("resume_token", "is not one of ours"))
	}
	if credentials := h.Values("Authorization"); len(credentials) > 1 || (len(credentials) == 1 && !visible(strings.ReplaceAll(credentials[0], " ", ""))) {
		return apierror.New(apierror.ReasonCredentialsInvalid, "the Authorization header is not `Bearer` and a key")
	}
	for _, name := range []string{"Traceparent", "Tracestate"} {
		if !visible(strings.ReplaceAll(h.Get(name), " ", "")) {
			h.Del(name)
		}
	}
	// Nobody needs gRPC's own headers over HTTP: the server's deadline holds.
	h.Del("Grpc-Timeout")
	h.Del("Te")
	return nil
}

// visible reports whether a text has visible ASCII characters only.
func visible(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
