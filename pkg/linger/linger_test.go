package linger_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/linger"
)

const size = 8 << 20 // far more than the buffers of a connection hold

// refusing is a server that refuses every body without looking at it.
func refusing(t *testing.T, lingering bool, read int64) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		finish := func() {}
		if lingering {
			finish = linger.Watch(w, r)
		}
		_, _ = io.CopyN(io.Discard, r.Body, read)
		_ = r.Body.Close()
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		finish()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// send sends all of a body, and only then reads the answer, as most clients do.
func send(conn net.Conn, headers, body string) (*http.Response, error) {
	if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n", headers); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, body); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

var (
	whole   = fmt.Sprintf("Content-Length: %d\r\n", size)
	chunked = "Transfer-Encoding: chunked\r\n"
	body    = strings.Repeat("x", size)
	chunks  = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
)

func TestAClientThatSendsFirstSeesTheRefusal(t *testing.T) {
	for name, test := range map[string]struct{ headers, body string }{
		"a body with a length":          {whole, body},
		"its only request":              {whole + "Connection: close\r\n", body},
		"a body without a length":       {chunked, chunks},
		"its only one without a length": {chunked + "Connection: close\r\n", chunks},
	} {
		for _, read := range []int64{0, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d read", name, read), func(t *testing.T) {
				response, err := send(dial(t, refusing(t, true, read)), test.headers, test.body)
				require.NoError(t, err)
				require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
			})
		}
	}
}

// TestControlWithoutLingeringItDoesNot is why the package is there.
func TestControlWithoutLingeringItDoesNot(t *testing.T) {
	_, err := send(dial(t, refusing(t, false, 0)), whole+"Connection: close\r\n", body)
	require.Error(t, err)
}

// TestAConnectionIsUsedAgainAfterASmallBody was refused.
func TestAConnectionIsUsedAgainAfterASmallBody(t *testing.T) {
	conn := dial(t, refusing(t, true, 10))
	for range 3 {
		response, err := send(conn, "Content-Length: 100000\r\n", strings.Repeat("x", 100_000))
		require.NoError(t, err)
		require.False(t, response.Close)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
	}
}

func TestABodyThatWasNotCalledForIsNotWaitedFor(t *testing.T) {
	conn := dial(t, refusing(t, true, 0))
	response, err := send(conn, whole+"Expect: 100-continue\r\n", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err, "and the connection ends")
}

// TestAReaderThatIsDoneReadsNoFurther: a proxy's transport may still hold the body.
func TestAReaderThatIsDoneReadsNoFurther(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body"))
	finish := linger.Watch(httptest.NewRecorder(), r)
	require.NoError(t, r.Body.Close())
	_, err := r.Body.Read(make([]byte, 4))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
	finish()
}
