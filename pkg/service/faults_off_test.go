//go:build !faults

package service

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAServiceWithoutFaultInjectionSaysSo, and shows nothing of it: this is
// what goes into images.
func TestAServiceWithoutFaultInjectionSaysSo(t *testing.T) {
	i := start(t, definition(&shop{}))
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		request, err := http.NewRequest(method, "http://"+i.Admin+"/faults", http.NoBody)
		require.NoError(t, err)
		a := do(t, request)
		require.Equal(t, http.StatusNotFound, a.StatusCode)
		require.Regexp(t, `^[^\n]*built without fault injection[^\n]*\n$`, a.body)
	}
	require.NotContains(t, get(t, i.Probe, "/statusz").body, `"faults"`)
	require.NotContains(t, get(t, i.Probe, "/metrics").body, "holdfast_faults")
}
