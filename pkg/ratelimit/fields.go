package ratelimit

import (
	"net/http"
	"strconv"

	"google.golang.org/grpc/metadata"
)

// The two fields of draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4,
// as gRPC metadata and as HTTP headers. Both are lists of one item here, in the
// syntax of Structured Fields (RFC 9651):
//
//	RateLimit-Policy: "tenant-reads";q=2000;w=2    2000 requests in 2 seconds
//	RateLimit: "tenant-reads";r=1999;t=1           1999 left; more in a second
//
// The draft keeps them out of HTTP trailers, and over HTTP they are headers.
// Over gRPC they are trailers all the same, as everything that goes with our
// answers: a server that has sent headers has committed the call, and gRPC's own
// retries end there.
const (
	PolicyMetadata = "ratelimit-policy"
	StateMetadata  = "ratelimit"
	PolicyHeader   = "RateLimit-Policy"
	StateHeader    = "RateLimit"
)

// announcement is what a quota says in every answer, made once.
type announcement struct {
	policy []string // the value of RateLimit-Policy
	prefix string   // how the value of RateLimit begins
}

func announce(q Quota) *announcement {
	return &announcement{policy: []string{q.policy()}, prefix: strconv.Quote(q.Name) + ";r="}
}

// state is the value of RateLimit.
func (d Decision) state() string {
	var room [64]byte
	text := append(room[:0], d.announced.prefix...)
	text = strconv.AppendInt(text, int64(d.Remaining), 10)
	text = append(text, ";t="...)
	return string(strconv.AppendInt(text, seconds(d.Reset), 10))
}

// Metadata returns the fields as gRPC metadata, which is not to be changed; nil
// if there is nothing to tell.
func (d Decision) Metadata() metadata.MD {
	if d.announced == nil {
		return nil
	}
	return metadata.MD{PolicyMetadata: d.announced.policy, StateMetadata: {d.state()}}
}

// SetHeaders sets the fields as HTTP headers, if there is something to tell.
func (d Decision) SetHeaders(h http.Header) {
	if d.announced == nil {
		return
	}
	h.Set(PolicyHeader, d.announced.policy[0])
	h.Set(StateHeader, d.state())
}

// HeadersFrom sets the HTTP headers from the trailers of a gRPC answer.
func HeadersFrom(trailers metadata.MD, h http.Header) {
	for _, field := range [...]struct{ metadata, header string }{{PolicyMetadata, PolicyHeader}, {StateMetadata, StateHeader}} {
		if values := trailers.Get(field.metadata); len(values) > 0 {
			h.Set(field.header, values[0])
		}
	}
}
