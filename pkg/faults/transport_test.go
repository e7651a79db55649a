//go:build faults

package faults

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/health"
)

// TestHealthAndReflectionNeverHaveFaults, although the server of this test says
// that it serves them: a rule for `*` is not meant to have pods restarted.
func TestHealthAndReflectionNeverHaveFaults(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [{"method": "*", "percent": 100, "fault": "error"}]}`)
	c := w.client()
	require.Error(t, c.call(buy), "faults are on")
	_, err := grpc_health_v1.NewHealthClient(c).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)

	stream, err := reflectionpb.NewServerReflectionClient(c).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}))
	_, err = stream.Recv()
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	require.NotContains(t, w.shown().Methods, grpc_health_v1.Health_Check_FullMethodName)
}

// TestUnknownMethodsNeverHaveFaults: each would be a time series of its own.
func TestUnknownMethodsNeverHaveFaults(t *testing.T) {
	w := start(t)
	p := w.put(`{"rules": [{"method": "*", "percent": 100, "fault": "error"}]}`)
	require.Len(t, p.Rules, 1)
	require.Equal(t, codes.Unimplemented, status.Code(w.client().call("/toys.Toys/Steal")))
	require.Zero(t, w.shown().Rules[0].Calls)
}

// TestOutsideDevelopmentThereIsNothingToSwitchOn, even in a binary that has the
// code.
func TestOutsideDevelopmentThereIsNothingToSwitchOn(t *testing.T) {
	h := health.New(slog.New(slog.DiscardHandler))
	defer h.Close()
	i := New(config.Production, slog.New(slog.DiscardHandler), h)
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
		require.Regexp(t, `^[^\n]*HOLDFAST_ENV=development[^\n]*\n$`, answer.Body.String())
	}
}
