package service

import (
	"net/http"

	"go.uber.org/fx"
)

// Route is an HTTP route whose protocol is not the API's own: it was written down
// by somebody else, and clients of it exist. The gateway cannot say it, so the
// route reads and writes bytes itself, and everything that stands before an RPC
// stands before it all the same: limits by address, credentials, the tenant's
// limits, shedding, faults, meters, drains.
//
//	edge          request id, version, limits by address, headers, media type
//	interceptors  those of streams, for Method, as if it came by the gateway
//	body          read to its end, MaxBody bytes at most: nobody without a
//	              credential has us hold one
//	Handle
//
// What is wrong before a byte of the answer was written goes to Refuse; what goes
// wrong later is for Handle to say, in whatever way its protocol has.
type Route struct {
	// Pattern is one of net/http's ServeMux, with its method: `POST /v1/messages`.
	// It wins over the gateway's routes.
	Pattern string
	// Method is the full name of the RPC that this is another form of:
	// `/holdfast.llm.v1.LLMGatewayService/StreamGenerate`. Its policy holds: scope,
	// criticality, limits, and for a method that is no stream its timeout, as the
	// deadline of Handle's context.
	Method string
	// MaxBody bounds the request's body, in bytes. Zero: HOLDFAST_MAX_MESSAGE.
	MaxBody int64
	// Handle answers. The body is the request's, which r.Body has no more; it is
	// Handle's to keep. Its context is that of the call: with the principal, the
	// policy, incoming metadata and the channels of [Draining] and [CutOff]; it ends
	// when the client leaves.
	//
	// Writes reach the client when the answer ends, or is flushed
	// ([http.ResponseController]); each may take as long as a piece of a stream may,
	// and all of them together as long as they like. An error that is returned
	// before anything was written is answered by Refuse; afterwards it is counted
	// and no more. A panic is INTERNAL; afterwards it cuts the connection, so that
	// no half of an answer looks whole.
	Handle func(w http.ResponseWriter, r *http.Request, body []byte) error
	// Refuse writes an error as the route's protocol has it. Errors of Handle and of
	// everything before it are of *[apierror.Error], in err. Headers that go with it
	// (Retry-After, RateLimit, WWW-Authenticate, Allow) are set already.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// Credential finds the API key where the protocol has it, such as in
	// `x-api-key`; empty: there is none. A request that has another one in
	// Authorization says two things, and is let in by neither. Nil: Authorization
	// alone counts.
	Credential func(r *http.Request) string
}

// ProvideRoutes adds routes to the service: constructor returns a []Route, and an
// error if it wants to, from whatever the graph has.
func ProvideRoutes(constructor any) fx.Option {
	return fx.Provide(fx.Annotate(constructor, fx.ResultTags(`group:"routes,flatten"`)))
}
