package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/holdfast-dev/holdfast/pkg/auth"
)

// wire is one HTTP/2 connection to a gRPC port, spoken frame by frame: it does
// what no gRPC client would.
type wire struct {
	*http2.Framer
	t       *testing.T
	conn    net.Conn
	last    uint32 // stream opened
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func dialWire(t *testing.T, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second))) // no read here may hang
	w := &wire{Framer: http2.NewFramer(conn, conn), t: t, conn: conn}
	w.encoder = hpack.NewEncoder(&w.block)
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	require.NoError(t, w.WriteSettings())
	return w
}

// await reads until there is a frame that is looked for, and answers meanwhile
// what a client has to. The error is that of the connection.
func (w *wire) await(wanted func(http2.Frame) bool) (http2.Frame, error) {
	w.t.Helper()
	for {
		frame, err := w.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				require.NoError(w.t, w.WriteSettingsAck())
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				require.NoError(w.t, w.WritePing(true, f.Data))
			}
		}
		if wanted(frame) {
			return frame, nil
		}
	}
}

// open begins a call, and says whether its request is already over.
func (w *wire) open(method string, over bool) (stream uint32) {
	w.t.Helper()
	if w.last++; w.last > 1 {
		w.last++ // a client's are odd
	}
	w.block.Reset()
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", method},
		{":authority", "shop"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"authorization", "Bearer " + auth.DevelopmentKey},
	} {
		require.NoError(w.t, w.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	require.NoError(w.t, w.WriteHeaders(http2.HeadersFrameParam{
		StreamID: w.last, BlockFragment: w.block.Bytes(), EndHeaders: true, EndStream: over,
	}))
	return w.last
}

// send sends a call's one message.
func (w *wire) send(stream uint32, message []byte) {
	w.t.Helper()
	framed := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	require.NoError(w.t, w.WriteData(stream, true, append(framed, message...)))
}

// call makes a call with an empty message, and returns the status that gRPC gave
// it, "0" being OK.
func (w *wire) call(method string) string {
	w.t.Helper()
	stream := w.open(method, false)
	w.send(stream, nil)
	frame, err := w.await(func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		return ok && h.StreamID == stream && h.StreamEnded()
	})
	require.NoError(w.t, err)
	for _, field := range frame.(*http2.MetaHeadersFrame).Fields {
		if field.Name == "grpc-status" {
			return field.Value
		}
	}
	return ""
}

// ping sends a ping, and returns what the server says to it: nil if it answers, or
// that it wants no more.
func (w *wire) ping() *http2.GoAwayFrame {
	w.t.Helper()
	require.NoError(w.t, w.WritePing(false, [8]byte{'h', 'o', 'l', 'd'}))
	frame, err := w.await(func(f http2.Frame) bool {
		p, ok := f.(*http2.PingFrame)
		return (ok && p.IsAck()) || f.Header().Type == http2.FrameGoAway
	})
	require.NoError(w.t, err)
	away, _ := frame.(*http2.GoAwayFrame)
	return away
}

// requireClosed awaits the end of the connection.
func (w *wire) requireClosed() {
	w.t.Helper()
	_, err := w.await(func(http2.Frame) bool { return false })
	var timeout net.Error
	require.False(w.t, errors.As(err, &timeout) && timeout.Timeout(), "the server leaves the connection open")
}
