//go:build !faults

package faults

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/health"
)

// TestWithoutFaultInjectionThereIsNothingToSwitchOn, in development either.
func TestWithoutFaultInjectionThereIsNothingToSwitchOn(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	h := health.New(log)
	defer h.Close()
	i := New(config.Development, log, h)
	i.Serves(nil)
	require.Empty(t, i.UnaryServerInterceptors())
	require.Empty(t, i.StreamServerInterceptors())
	require.Empty(t, i.Gateway())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	require.Same(t, listener, i.Listener(listener))

	mux := http.NewServeMux()
	i.Route(mux)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(method, "/faults", http.NoBody))
		require.Equal(t, http.StatusNotFound, answer.Code)
		require.Regexp(t, `^[^\n]*built without fault injection[^\n]*\n$`, answer.Body.String())
	}
}
