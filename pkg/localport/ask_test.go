package localport_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/localport"
)

func TestEveryInterfaceIsAskedOverLoopback(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	for _, host := range []string{"", "0.0.0.0", "[::]", "127.0.0.1"} {
		code, body, err := localport.Ask(t.Context(), http.MethodPost, host+":"+port, "/drain")
		require.NoError(t, err, host)
		require.Equal(t, http.StatusServiceUnavailable, code)
		require.Equal(t, "POST /drain", string(body))
	}
}

func TestNobodyAndNonsenseAreErrors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, _, err = localport.Ask(t.Context(), http.MethodGet, nobody, "/")
	require.ErrorContains(t, err, nobody+" does not answer")
	_, _, err = localport.Ask(t.Context(), http.MethodGet, "8081", "/")
	require.ErrorContains(t, err, `address "8081"`)
}
