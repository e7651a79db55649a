package load_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
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
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/holdfast-dev/holdfast/test/load"
)

const method = "/test.Service/Method"

// countingListener counts the connections that were opened.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

func listen(t *testing.T) *countingListener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return &countingListener{Listener: listener}
}

func serveHTTP(t *testing.T, handler http.HandlerFunc) *countingListener {
	t.Helper()
	listener := listen(t)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return listener
}

func serveGRPC(t *testing.T, handler func(grpc.ServerStream) error) *countingListener {
	t.Helper()
	listener := listen(t)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		return handler(stream)
	}))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return listener
}

func TestConnectionsAreReusedOrNewAsAsked(t *testing.T) {
	web := func(t *testing.T, c load.Connections) (*countingListener, load.Sender) {
		listener := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
		return listener, load.NewHTTP("http://"+listener.Addr().String(), nil, c, 2)
	}
	rpc := func(t *testing.T, c load.Connections) (*countingListener, load.Sender) {
		listener := serveGRPC(t, func(s grpc.ServerStream) error { return s.SendMsg(&emptypb.Empty{}) })
		sender, err := load.NewGRPC(listener.Addr().String(), method, nil, c, 2)
		require.NoError(t, err)
		return listener, sender
	}
	for _, test := range []struct {
		name  string
		start func(*testing.T, load.Connections) (*countingListener, load.Sender)
		use   load.Connections
		want  int64
	}{
		{"HTTP reused", web, load.Reused, 2},
		{"HTTP new", web, load.New, 10},
		{"gRPC reused", rpc, load.Reused, 2},
		{"gRPC new", rpc, load.New, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener, sender := test.start(t, test.use)
			defer sender.Close()
			for range 10 {
				exchange := sender.Send(t.Context(), "k", &emptypb.Empty{})
				require.Nil(t, exchange.Failure())
			}
			require.Equal(t, test.want, listener.accepted.Load())
		})
	}
}

func TestAnAnswerKeepsItsBytesAndItsMark(t *testing.T) {
	message := wrapperspb.String("as it was")
	want, err := proto.Marshal(message)
	require.NoError(t, err)
	rpc := serveGRPC(t, func(s grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		if md.Get("idempotency-key")[0] != "the key" || md.Get("authorization")[0] != "Bearer x" {
			return status.Error(codes.InvalidArgument, "metadata is missing")
		}
		s.SetTrailer(metadata.Pairs("idempotent-replayed", "true"))
		return s.SendMsg(message)
	})
	sender, err := load.NewGRPC(rpc.Addr().String(), method, metadata.Pairs("authorization", "Bearer x"), load.Reused, 1)
	require.NoError(t, err)
	defer sender.Close()
	exchange := sender.Send(t.Context(), "the key", &emptypb.Empty{})
	require.Nil(t, exchange.Failure())
	require.Equal(t, want, exchange.Body)
	require.True(t, exchange.Replayed)

	web := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Idempotency-Key") != "the key" || r.Header.Get("Authorization") != "Bearer x" {
			w.WriteHeader(http.StatusBadRequest)
		}
		w.Header().Set("Idempotent-Replayed", "true")
		_, _ = w.Write(body)
	})
	httpSender := load.NewHTTP("http://"+web.Addr().String(), http.Header{"Authorization": {"Bearer x"}}, load.New, 1)
	exchange = httpSender.Send(t.Context(), "the key", message)
	require.Nil(t, exchange.Failure())
	require.Equal(t, `"as it was"`, string(exchange.Body))
	require.True(t, exchange.Replayed)
}

func TestFailuresAreToldApart(t *testing.T) {
	slow := func(ctx context.Context) { <-ctx.Done() }
	problem := `{"reason":"DRAINING","detail":"going","retry":"same_key","retry_after_ms":250}`
	typed := func() error {
		st, err := status.New(codes.Unavailable, "going").WithDetails(
			&errdetails.ErrorInfo{Reason: "DRAINING", Metadata: map[string]string{"retry": "same_key"}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(250 * time.Millisecond)})
		if err != nil {
			return err
		}
		return st.Err()
	}
	// hangUp reads what comes and cuts the connection without an answer.
	hangUp := func(t *testing.T) string {
		listener := listen(t)
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				conn.Close()
			}
		})
		t.Cleanup(func() { listener.Close(); serving.Wait() })
		return listener.Addr().String()
	}
	nobody := func(t *testing.T) string {
		listener := listen(t)
		listener.Close()
		return listener.Addr().String()
	}
	web := func(h http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string { return serveHTTP(t, h).Addr().String() }
	}
	rpc := func(h func(grpc.ServerStream) error) func(*testing.T) string {
		return func(t *testing.T) string { return serveGRPC(t, h).Addr().String() }
	}
	for _, test := range []struct {
		name      string
		http      bool
		address   func(*testing.T) string
		kinds     []string
		retryable bool
	}{
		{"HTTP, nobody listens", true, nobody, []string{load.Refused}, true},
		{"HTTP, cut off", true, hangUp, []string{load.Closed, load.Reset}, true},
		{"HTTP, no answer in time", true, web(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			slow(r.Context())
		}), []string{load.TimedOut}, true},
		{"HTTP, typed error", true, web(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, problem)
		}), []string{"http 503 DRAINING"}, true},
		{"HTTP, foreign error", true, web(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>")
		}), []string{"http 502"}, false},
		{"gRPC, nobody listens", false, nobody, []string{load.Refused}, true},
		{"gRPC, cut off", false, hangUp, []string{load.Closed, load.Reset}, true},
		{"gRPC, no answer in time", false, rpc(func(s grpc.ServerStream) error {
			slow(s.Context())
			return nil
		}), []string{load.TimedOut}, true},
		{"gRPC, typed error", false, rpc(func(grpc.ServerStream) error { return typed() }), []string{"grpc UNAVAILABLE DRAINING"}, true},
		{"gRPC, bare status", false, rpc(func(grpc.ServerStream) error {
			return status.Error(codes.Internal, "bug")
		}), []string{"grpc INTERNAL"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := test.address(t)
			var sender load.Sender = load.NewHTTP("http://"+address, nil, load.New, 1)
			if !test.http {
				var err error
				sender, err = load.NewGRPC(address, method, nil, load.New, 1)
				require.NoError(t, err)
			}
			defer sender.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			failure := sender.Send(ctx, "k", &emptypb.Empty{}).Failure()
			require.NotNil(t, failure)
			require.Contains(t, test.kinds, failure.Kind, failure.Detail)
			require.Equal(t, test.retryable, failure.Retryable)
			if failure.Kind == "http 503 DRAINING" || failure.Kind == "grpc UNAVAILABLE DRAINING" {
				require.Equal(t, 250*time.Millisecond, failure.RetryAfter)
			}
		})
	}
}

// net/http replays a request that carries an Idempotency-Key on its own. A load
// generator that let it would report a dropped request as a success.
func TestADroppedRequestIsNotSentAgainBehindTheReportsBack(t *testing.T) {
	var seen atomic.Int64
	listener := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if seen.Add(1) == 2 {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, "{}")
	})
	sender := load.NewHTTP("http://"+listener.Addr().String(), nil, load.Reused, 1)
	defer sender.Close()
	require.Nil(t, sender.Send(t.Context(), "a", &emptypb.Empty{}).Failure())
	require.NotNil(t, sender.Send(t.Context(), "b", &emptypb.Empty{}).Failure())
	require.EqualValues(t, 2, seen.Load())
}
