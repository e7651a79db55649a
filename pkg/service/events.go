package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// The media types of streams.
const (
	mimeEvents = "text/event-stream"
	mimeLines  = "application/x-ndjson"
)

// How soon a client of server-sent events comes back by itself: when its
// connection breaks, and at least when it was told why the stream ends. That may
// be sooner than the error says, but for clients that try again for ever there
// has to be some time.
const (
	comeBack      = time.Second
	comeBackAtEnd = 100 * time.Millisecond
)

// comment is what the format has for a sign of life: no event.
const comment = ":\n\n"

// beginningOfEvents is sent before there is an event. It also undoes what the end
// of the stream before said of coming back.
var beginningOfEvents = fmt.Sprintf("retry: %d\n\n", comeBack.Milliseconds())

// eventStream writes streams as server-sent events (the WHATWG's HTML standard,
// "Server-sent events"); everything else as JSON:
//
//	id: <resume token>             a message, and where to go on after it
//	data: <the message as JSON>
//
//	event: end                     why the stream ends
//	retry: <milliseconds>
//	data: <the error as a problem, as RFC 9457 has it>
//
// An end has no id: the last message's is what the client comes back with, in
// Last-Event-ID.
type eventStream struct{ *strictJSON }

// Delimiter is nothing: each event has its own end.
func (eventStream) Delimiter() []byte { return nil }

// StreamContentType is that of a stream.
func (eventStream) StreamContentType(any) string { return mimeEvents }

// Marshal returns a piece of a stream as an event, and other values as JSON.
func (e eventStream) Marshal(v any) ([]byte, error) {
	var event bytes.Buffer
	switch piece := v.(type) {
	case map[string]any:
		message, ok := piece["result"].(proto.Message)
		if !ok {
			break
		}
		data, err := e.strictJSON.Marshal(message)
		if err != nil {
			return nil, err
		}
		if resumable, ok := message.(interface{ GetResumeToken() string }); ok {
			fmt.Fprintf(&event, "id: %s\n", resumable.GetResumeToken())
		}
		fmt.Fprintf(&event, "data: %s\n\n", data)
		return event.Bytes(), nil
	case map[string]proto.Message:
		problem, ok := problemOf(piece)
		if !ok {
			break
		}
		data, err := json.Marshal(problem)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&event, "event: end\nretry: %d\ndata: %s\n\n", max(problem.RetryAfterMillis, comeBackAtEnd.Milliseconds()), data)
		return event.Bytes(), nil
	}
	return e.strictJSON.Marshal(v)
}

// problemOf returns the error that ends a stream, from what the gateway makes of
// it, as HTTP clients see errors.
func problemOf(piece map[string]proto.Message) (apierror.Problem, bool) {
	st, ok := piece["error"].(*status.Status)
	if !ok {
		return apierror.Problem{}, false
	}
	return apierror.ProblemOf(grpcstatus.FromProto(st).Err()), true
}
