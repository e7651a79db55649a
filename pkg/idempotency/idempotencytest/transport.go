package idempotencytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// answer is what a client sees.
type answer struct {
	body       []byte // proto or JSON, as it arrived; nil for an error
	replayed   bool
	reason     apierror.Reason // empty for success
	status     int             // HTTP
	text       string          // everything a refused client can read
	serverTime string
	retryAfter time.Duration
}

// transport sends a request with zero or more keys.
type transport interface {
	send(t testing.TB, token string, request proto.Message, keys ...string) answer
}

// overGRPC reads the bytes of the answer before anything decodes them.
type overGRPC struct{ s Subject }

func (g overGRPC) send(t testing.TB, token string, request proto.Message, keys ...string) answer {
	t.Helper()
	md := metadata.Pairs("authorization", "Bearer "+token)
	md.Append(idempotency.KeyMetadata, keys...)
	ctx := metadata.NewOutgoingContext(t.Context(), md)
	var raw rawMessage
	var trailer metadata.MD
	err := g.s.Conn.Invoke(ctx, g.s.Method, request, &raw, grpc.Trailer(&trailer), grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		e := apierror.From(err)
		return answer{reason: e.Reason(), text: fmt.Sprintf("%+v", e.GRPCStatus().Proto()), serverTime: e.Metadata("server_time"), retryAfter: e.RetryAfter(), status: e.HTTPStatus()}
	}
	return answer{body: raw, replayed: strings.Join(trailer.Get(idempotency.ReplayedTrailer), "") == "true", status: http.StatusOK}
}

// overHTTP sends JSON by the method's google.api.http rule.
type overHTTP struct{ s Subject }

func (h overHTTP) send(t testing.TB, token string, request proto.Message, keys ...string) answer {
	t.Helper()
	verb, path, body := h.route(t, request)
	req, err := http.NewRequestWithContext(t.Context(), verb, h.s.HTTP+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	for _, k := range keys {
		req.Header.Add("Idempotency-Key", k)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode < 300 {
		return answer{body: text, replayed: response.Header.Get("Idempotent-Replayed") == "true", status: response.StatusCode}
	}
	var problem apierror.Problem
	if err := json.Unmarshal(text, &problem); err != nil {
		t.Fatalf("%s is not a problem document: %v\n%s", response.Status, err, text)
	}
	return answer{
		reason: problem.Reason, status: response.StatusCode, text: string(text),
		serverTime: problem.Metadata["server_time"],
		retryAfter: time.Duration(problem.RetryAfterMillis) * time.Millisecond,
	}
}

var pathVariable = regexp.MustCompile(`\{([a-z_]+)[^}]*\}`)

// route makes the verb, path and body of a request. Fields in the path are left
// out of the body, as a client does.
func (h overHTTP) route(t testing.TB, request proto.Message) (verb, path string, body []byte) {
	t.Helper()
	rule, ok := proto.GetExtension(methodOf(t, h.s.Method).Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule.GetPost() == "" {
		t.Fatalf("%s has no POST rule", h.s.Method)
	}
	request = proto.Clone(request)
	m := request.ProtoReflect()
	path = pathVariable.ReplaceAllStringFunc(rule.GetPost(), func(v string) string {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(pathVariable.FindStringSubmatch(v)[1]))
		value := m.Get(fd).String()
		m.Clear(fd)
		return url.PathEscape(value)
	})
	body, err := protojson.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return http.MethodPost, path, body
}

func methodOf(t testing.TB, fullMethod string) protoreflect.MethodDescriptor {
	t.Helper()
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		t.Fatalf("%s is not linked in: %v", fullMethod, err)
	}
	return d.(protoreflect.MethodDescriptor)
}
