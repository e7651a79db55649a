package load_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/holdfast-dev/holdfast/test/load"
)

// streamsGRPC and streamsHTTP send two messages, and end as streams of ours do:
// with a reason, and where to go on.

func streamsGRPC(t *testing.T) *countingListener {
	return serveGRPC(t, func(stream grpc.ServerStream) error {
		var request wrapperspb.StringValue
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		if request.GetValue() == "end" {
			return nil
		}
		for _, text := range []string{"one", "two"} {
			if err := stream.SendMsg(wrapperspb.String(request.GetValue() + text)); err != nil {
				return err
			}
		}
		st, err := status.New(codes.Unavailable, "go on elsewhere").WithDetails(
			&errdetails.ErrorInfo{Reason: "DRAINING", Metadata: map[string]string{"retry": "same_key", "resume_token": "2"}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Millisecond)})
		if err != nil {
			return err
		}
		return st.Err()
	})
}

func streamsHTTP(t *testing.T) *countingListener {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/event-stream" {
			http.Error(w, "events are what there is", http.StatusNotAcceptable)
			return
		}
		switch r.URL.Path {
		case "/end":
			w.Header().Set("Content-Type", "text/event-stream")
			return
		case "/refused":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"reason":"NOT_FOUND","detail":"there is no such order","retry":"never"}`)
			return
		}
		w.Header().Set("Holdfast-Version", "v7")
		_, _ = io.WriteString(w, "retry: 1000\n\n:\n\nid: 1\ndata: one\n\n:\n\nid: 2\ndata: two\n\n"+
			"event: end\nretry: 100\ndata: "+`{"reason":"DRAINING","detail":"go on elsewhere","retry":"same_key","retry_after_ms":1,"metadata":{"resume_token":"2"}}`+"\n\n")
	})
}

func requireDraining(t *testing.T, end load.Exchange) {
	t.Helper()
	require.False(t, end.OK)
	require.NoError(t, end.Err)
	require.Equal(t, "DRAINING", end.Reason)
	require.Equal(t, "2", end.ResumeToken)
	require.Equal(t, time.Millisecond, end.RetryAfter)
	require.True(t, end.Failure().Retryable)
}

func TestAStreamOverGRPCIsItsMessagesAndHowItEnded(t *testing.T) {
	for _, connections := range []load.Connections{load.Reused, load.New} {
		g, err := load.NewGRPC(streamsGRPC(t).Addr().String(), method, metadata.MD{}, connections, 1)
		require.NoError(t, err)
		defer g.Close()
		stream, err := g.Open(t.Context(), wrapperspb.String("number "))
		require.NoError(t, err)
		defer stream.Close()
		for _, want := range []string{"number one", "number two"} {
			got := stream.Next()
			require.True(t, got.OK)
			var text wrapperspb.StringValue
			require.NoError(t, proto.Unmarshal(got.Body, &text))
			require.Equal(t, want, text.GetValue())
		}
		requireDraining(t, stream.Next())

		stream, err = g.Open(t.Context(), wrapperspb.String("end"))
		require.NoError(t, err)
		defer stream.Close()
		require.ErrorIs(t, stream.Next().Err, io.ErrUnexpectedEOF, "a stream does not end without a reason")
	}
}

func TestAStreamOfEventsIsItsMessagesAndHowItEnded(t *testing.T) {
	at := "http://" + streamsHTTP(t).Addr().String()
	open := func(path string) load.Stream {
		h := load.NewHTTPGet(func(proto.Message) string { return at + path }, http.Header{}, load.New, 1)
		t.Cleanup(h.Close)
		stream, err := h.Open(t.Context(), wrapperspb.String(""))
		require.NoError(t, err)
		t.Cleanup(stream.Close)
		return stream
	}
	stream := open("/")
	for _, want := range []string{"one", "two"} {
		got := stream.Next()
		require.True(t, got.OK)
		require.Equal(t, want, string(got.Body))
		require.Equal(t, "v7", got.Version)
	}
	requireDraining(t, stream.Next())
	require.ErrorIs(t, open("/end").Next().Err, io.ErrUnexpectedEOF)
	refused := open("/refused").Next()
	require.Equal(t, "http 404", refused.Code)
	require.Equal(t, "NOT_FOUND", refused.Reason)
}
