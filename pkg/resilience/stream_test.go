package resilience

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// streamer answers one request with messages, as it is told.
type streamer struct {
	testpb.UnimplementedTestServiceServer
	seen   atomic.Int64
	answer func(n int64, stream testpb.TestService_StreamingOutputCallServer) error
}

func (s *streamer) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	return s.answer(s.seen.Add(1), stream)
}

func send(stream testpb.TestService_StreamingOutputCallServer, messages int) error {
	for range messages {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *streamer) client(t *testing.T, cfg Config) (testpb.TestServiceClient, *Dependency) {
	t.Helper()
	d := newPayments(t, cfg)
	d.methods[testpb.TestService_StreamingOutputCall_FullMethodName] = &method{repeatable: true}
	address := serve(t, func(r grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(r, s) })
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainStreamInterceptor(d.StreamClientInterceptor()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return testpb.NewTestServiceClient(conn), d
}

// readAll reads a stream to its end, and returns how many messages it had.
func readAll(ctx context.Context, c testpb.TestServiceClient) (messages int, err error) {
	stream, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
	if err != nil {
		return 0, err
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return messages, nil
		} else if err != nil {
			return messages, err
		}
		messages++
	}
}

// TestAStreamIsOpenedAgainBeforeItsFirstMessage.
func TestAStreamIsOpenedAgainBeforeItsFirstMessage(t *testing.T) {
	s := &streamer{answer: func(n int64, stream testpb.TestService_StreamingOutputCallServer) error {
		if n < 3 {
			return status.Error(codes.Unavailable, "away")
		}
		return send(stream, 4)
	}}
	client, d := s.client(t, quick())
	messages, err := readAll(t.Context(), client)
	require.NoError(t, err)
	require.Equal(t, 4, messages)
	require.EqualValues(t, 3, s.seen.Load())
	rested(t, d)
}

// TestAStreamIsNeverOpenedAgainAfterIt: the caller has a part already.
func TestAStreamIsNeverOpenedAgainAfterIt(t *testing.T) {
	s := &streamer{answer: func(_ int64, stream testpb.TestService_StreamingOutputCallServer) error {
		return errors.Join(send(stream, 1), status.Error(codes.Unavailable, "cut off"))
	}}
	client, d := s.client(t, quick())
	messages, err := readAll(t.Context(), client)
	require.Error(t, err)
	require.Equal(t, 1, messages)
	require.EqualValues(t, 1, s.seen.Load())
	rested(t, d)
}

// TestTheEndOfAStreamIsWhatABreakerCounts, whether it delivered something or not.
func TestTheEndOfAStreamIsWhatABreakerCounts(t *testing.T) {
	s := &streamer{answer: func(_ int64, stream testpb.TestService_StreamingOutputCallServer) error {
		if err := send(stream, 3); err != nil {
			return err
		}
		return status.Error(codes.Internal, "in the middle")
	}}
	client, d := s.client(t, touchy())
	for range 5 {
		_, err := readAll(t.Context(), client)
		require.Equal(t, codes.Internal, status.Code(err))
	}
	_, err := readAll(t.Context(), client)
	require.Equal(t, apierror.ReasonBreakerOpen, reason(err))
	rested(t, d)
}

// TestAStreamThatItsCallerLeavesHoldsNothing.
func TestAStreamThatItsCallerLeavesHoldsNothing(t *testing.T) {
	s := &streamer{answer: func(_ int64, stream testpb.TestService_StreamingOutputCallServer) error {
		if err := send(stream, 1); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
	client, d := s.client(t, touchy(func(c *Config) { c.MaxConcurrent, c.MaxWait = 1, 5*time.Second }))
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		require.EqualValues(t, 1, d.inflight.n.Load(), "an open stream is in flight")
		cancel() // and never reads again
	}
	rested(t, d)
	require.Zero(t, d.breaker.circuit.Metrics().Executions())
}

// TestALongStreamDoesNotHoldUpAProbe: its first message has proved enough.
func TestALongStreamDoesNotHoldUpAProbe(t *testing.T) {
	s := &streamer{answer: func(_ int64, stream testpb.TestService_StreamingOutputCallServer) error {
		if err := send(stream, 1); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
	client, d := s.client(t, touchy(func(c *Config) { c.BreakerProbes = 1 }))
	d.breaker.circuit.Open()
	d.breaker.circuit.HalfOpen()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	require.Equal(t, "closed", d.breaker.state(), "while the stream goes on")
}
