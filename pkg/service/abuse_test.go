package service

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// TestAClientThatPingsTooOftenIsSentAway: each ping costs an answer, and nothing
// else limits them.
func TestAClientThatPingsTooOftenIsSentAway(t *testing.T) {
	i := start(t, definition(&shop{}))
	w := dialWire(t, i.GRPC)
	var away *http2.GoAwayFrame
	pings := 0
	for ; away == nil; pings++ {
		require.Less(t, pings, 10, "it goes on answering")
		away = w.ping()
	}
	require.Equal(t, http2.ErrCodeEnhanceYourCalm, away.ErrCode)
	require.Equal(t, "too_many_pings", string(away.DebugData()))
	require.Greater(t, pings, 3, "three are no abuse: a network may hold them up, and let go of them together")
	w.requireClosed()
}

// TestAClientOfOursIsNotSentAway: it pings an idle connection for as long as it
// lives. Here everything is two hundred times as fast.
func TestAClientOfOursIsNotSentAway(t *testing.T) {
	ours, theirs := agreed(pingEvery / 200)
	require.True(t, ours.PermitWithoutStream)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(theirs))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	w := dialWire(t, listener.Addr().String())
	for range 8 { // twice as many as are too many
		require.Nil(t, w.ping())
		time.Sleep(ours.Time) // a late ping is none too many
	}
	server.Stop()
	require.NoError(t, <-served)
}

// TestAClientThatWorksMayPing: a few pings at once, and some after each answer.
func TestAClientThatWorksMayPing(t *testing.T) {
	i := start(t, definition(&shop{}))
	w := dialWire(t, i.GRPC)
	for range 3 {
		require.Nil(t, w.ping())
	}
	for range 20 {
		require.Equal(t, "0", w.call(healthpb.Health_Check_FullMethodName))
		for range 2 {
			require.Nil(t, w.ping())
		}
	}
}

// TestMoreCallsThanAConnectionMayHaveAreRefused, also to a client that does not
// wait as it was told to; those that it has are not harmed.
func TestMoreCallsThanAConnectionMayHaveAreRefused(t *testing.T) {
	const most = 4
	i := start(t, definition(&shop{}), "HOLDFAST_MAX_STREAMS", "4")
	w := dialWire(t, i.GRPC)
	frame, err := w.await(func(f http2.Frame) bool { return f.Header().Type == http2.FrameSettings })
	require.NoError(t, err)
	told, ok := frame.(*http2.SettingsFrame).Value(http2.SettingMaxConcurrentStreams)
	require.True(t, ok)
	require.EqualValues(t, most, told)

	first := w.open(healthpb.Health_Check_FullMethodName, false)
	for range most - 1 {
		w.open(healthpb.Health_Check_FullMethodName, false)
	}
	for range 10 {
		stream := w.open(healthpb.Health_Check_FullMethodName, false)
		frame, err := w.await(func(f http2.Frame) bool { return f.Header().StreamID == stream })
		require.NoError(t, err)
		refusal, ok := frame.(*http2.RSTStreamFrame)
		require.True(t, ok, frame)
		require.Equal(t, http2.ErrCodeRefusedStream, refusal.ErrCode, "it says that nothing was done")
	}
	w.send(first, nil)
	_, err = w.await(func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		return ok && h.StreamID == first && h.StreamEnded()
	})
	require.NoError(t, err)
	require.Equal(t, "0", w.call(healthpb.Health_Check_FullMethodName), "there is room again")
}

// TestCallsThatAreResetAtOnceDoNotPileUp: a stream that is reset is not counted
// among those of its connection any more, but its handler may still run ("rapid
// reset", CVE-2023-44487).
func TestCallsThatAreResetAtOnceDoNotPileUp(t *testing.T) {
	const (
		most = 4
		deaf = "0192d3c0-0000-7000-8000-0000000000ff" // an order whose handler does not notice that its caller has gone
	)
	var running, peak atomic.Int64
	release := make(chan struct{})
	s := &shop{ids: func(id string) {
		if id != deaf {
			return
		}
		now := running.Add(1)
		for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
		}
		<-release
		running.Add(-1)
	}}
	i := start(t, definition(s), "HOLDFAST_MAX_STREAMS", "4")
	w := dialWire(t, i.GRPC)
	request := append([]byte{0x0a, byte(len(deaf))}, deaf...) // field 1, as text
	for range 200 {
		stream := w.open(ordersv1.OrdersService_GetOrder_FullMethodName, false)
		w.send(stream, request)
		require.NoError(t, w.WriteRSTStream(stream, http2.ErrCodeCancel))
	}
	eventually(t, func() bool { return running.Load() == most }, "as many run as a connection may have")
	client := i.client()
	for range 50 {
		_, err := client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine})
		require.NoError(t, err, "others are served")
	}
	require.EqualValues(t, most, peak.Load())
	w.conn.Close() // what has not begun need not
	close(release)
	eventually(t, func() bool { return running.Load() == 0 }, "they end")
}

// TestAListenerHoldsSoManyConnections: one more waits, and is served when another
// has gone.
func TestAListenerHoldsSoManyConnections(t *testing.T) {
	const most = 3
	i := start(t, definition(&shop{}), "HOLDFAST_MAX_CONNS", "3")
	for name, test := range map[string]struct {
		address string
		served  func(net.Conn) error // awaits what a connection that is served gets
	}{
		"HTTP": {i.HTTP, func(conn net.Conn) error {
			_, err := conn.Write([]byte("GET /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + auth.DevelopmentKey + "\r\n\r\n"))
			if err != nil {
				return err
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return err
			}
			return response.Body.Close()
		}},
		"gRPC": {i.GRPC, func(conn net.Conn) error {
			if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
				return err
			}
			framer := http2.NewFramer(conn, conn)
			if err := framer.WriteSettings(); err != nil {
				return err
			}
			_, err := framer.ReadFrame()
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var held []net.Conn
			for range most {
				conn, err := net.Dial("tcp", test.address)
				require.NoError(t, err)
				defer conn.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
				require.NoError(t, test.served(conn))
				held = append(held, conn)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			late, err := new(net.Dialer).DialContext(ctx, "tcp", test.address)
			require.NoError(t, err, "it waits in the kernel")
			defer late.Close()
			answered := make(chan error, 1)
			go func() { answered <- test.served(late) }()
			select {
			case err := <-answered:
				require.Fail(t, "one connection too many was served", err)
			case <-time.After(300 * time.Millisecond): // the others took no time at all
			}
			require.NoError(t, held[0].Close())
			select {
			case err := <-answered:
				require.NoError(t, err)
			case <-ctx.Done():
				require.Fail(t, "it still waits")
			}
		})
	}
}
