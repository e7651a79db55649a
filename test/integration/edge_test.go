package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheEdgeKeepsSlowAndLoudClientsAtBay: what arrives is bounded in time and
// in size before anything reads it.
func TestTheEdgeKeepsSlowAndLoudClientsAtBay(t *testing.T) {
	t.Parallel()
	p := start(t)
	before := p.fingerprint(t)

	t.Run("headers that never end are cut off", func(t *testing.T) {
		conn := connect(t, p.ordersProcess.http)
		_, err := io.WriteString(conn, "POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		require.NoError(t, err)
		requireCutOff(t, conn)
	})

	t.Run("headers that are too large are refused", func(t *testing.T) {
		conn := connect(t, p.ordersProcess.http)
		_, err := io.WriteString(conn, "GET /v1/orders HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
	})

	t.Run("gRPC spoken to the HTTP port, and noise, are refused", func(t *testing.T) {
		for _, noise := range []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "hello\r\n\r\n"} {
			conn := connect(t, p.ordersProcess.http)
			_, err := io.WriteString(conn, noise)
			require.NoError(t, err)
			requireCutOff(t, conn)
		}
	})

	require.Equal(t, before, p.fingerprint(t))
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// requireCutOff waits until the server closes the connection, and holds what it
// says before to being a refusal.
func requireCutOff(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	said, err := io.ReadAll(conn)
	if err != nil {
		require.NotErrorIs(t, err, net.ErrClosed)
		timeout, ok := err.(net.Error) //nolint:errorlint // it is what the connection itself returns
		require.False(t, ok && timeout.Timeout(), "the connection is still open")
	}
	require.NotContains(t, string(said), "HTTP/1.1 200")
	requireNoLeak(t, string(said))
}
