package shed

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// quiet is the server's side of a stream that goes nowhere.
type quiet struct {
	grpc.ServerStream
	ctx context.Context
}

func (q quiet) Context() context.Context { return q.ctx }
func (quiet) SendMsg(any) error          { return nil }

// openStream runs a handler as the stream of a method.
func (s *Shedder) openStream(t *testing.T, method string, handler func(grpc.ServerStream) error) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with the handler
		done <- StreamServerInterceptor(s)(nil, quiet{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: method},
			func(_ any, stream grpc.ServerStream) error { return handler(stream) })
	}()
	synctest.Wait()
	return done
}

func TestAStreamTakesAPlaceOnlyWhileItIsOpened(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		step := make(chan struct{})
		done := s.openStream(t, watch, func(stream grpc.ServerStream) error {
			<-step // asks the database
			require.NoError(t, stream.SendMsg(nil))
			<-step
			require.NoError(t, stream.SendMsg(nil))
			<-step
			return nil
		})
		require.Equal(t, 1, s.read().inFlight)
		step <- struct{}{}
		synctest.Wait()
		require.Zero(t, s.read().inFlight, "with its first message it is open")
		step <- struct{}{}
		time.Sleep(time.Hour)
		require.Zero(t, s.read().inFlight)
		step <- struct{}{}
		require.NoError(t, <-done)
		require.Zero(t, s.read().inFlight, "and gives back nothing twice")
		require.Zero(t, s.methods[watch].pace, "how long it lived tells nothing")
	})
}

func TestAStreamThatHasNothingToSayIsOpenAfterASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		end := make(chan struct{})
		done := s.openStream(t, watch, func(grpc.ServerStream) error { <-end; return nil })
		time.Sleep(longestOpening - time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, s.read().inFlight)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, s.read().inFlight)
		close(end)
		require.NoError(t, <-done)
		require.Zero(t, s.read().inFlight)
	})
}

func TestAStreamThatFailsBeforeItIsOpenGivesItsPlaceBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		failed := errors.New("failed")
		require.ErrorIs(t, <-s.openStream(t, watch, func(grpc.ServerStream) error { return failed }), failed)
		require.Zero(t, s.read().inFlight)
		require.Panics(t, func() {
			_ = StreamServerInterceptor(s)(nil, quiet{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: watch},
				func(any, grpc.ServerStream) error { panic("a bug") })
		})
		require.Zero(t, s.read().inFlight)
	})
}

func TestStreamsAreShedWhenTheyAreOpened(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 1)
		s.fill(t)
		requireShed(t, <-s.openStream(t, watch, func(grpc.ServerStream) error {
			t.Error("it was opened")
			return nil
		}))
	})
}

// TestWhatHasNoPolicyIsNeverShed: health and reflection.
func TestWhatHasNoPolicyIsNeverShed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 1)
		s.fill(t)
		require.NoError(t, <-s.openStream(t, "/grpc.health.v1.Health/Watch", func(grpc.ServerStream) error { return nil }))
		answer, err := UnaryServerInterceptor(s)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/grpc.health.v1.Health/Check"},
			func(context.Context, any) (any, error) { return "SERVING", nil })
		require.NoError(t, err)
		require.Equal(t, "SERVING", answer)
		require.Equal(t, 1, s.read().inFlight, "nor does it take a place")
	})
}

func TestStreamsOverAConnection(t *testing.T) {
	s := fixed(t, 2)
	conn := serve(t, s, worker{watch: func(stream grpc.ServerStream) error {
		if err := stream.RecvMsg(emptyAnswer); err != nil {
			return err
		}
		if err := stream.SendMsg(emptyAnswer); err != nil {
			return err
		}
		<-stream.Context().Done()
		panic("after it was opened")
	}})
	for range 10 { // far more than the limit
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, watch)
		require.NoError(t, err)
		require.NoError(t, stream.SendMsg(emptyAnswer))
		require.NoError(t, stream.CloseSend())
		require.NoError(t, stream.RecvMsg(emptyAnswer))
	}
	eventually(t, s.empty, "ten open streams take no place")
	occupied := s.fill(t)
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, watch)
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	err = stream.RecvMsg(emptyAnswer)
	require.Equal(t, codes.Unavailable, status.Code(err))
	requireShed(t, err)
	for _, c := range occupied {
		s.leave(c, true)
	}
	require.True(t, s.empty())
}
