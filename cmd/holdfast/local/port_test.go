package local

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoTwoServicesGetTheSamePort(t *testing.T) {
	// With each service's own port taken, all of them look at the same next one.
	for _, service := range StartOrder {
		port := preferred[service].grpc
		// An error means that somebody has it already, which is as good.
		if listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			defer listener.Close()
		}
	}
	found, err := PreferredAddresses(t.Context(), StartOrder...)
	require.NoError(t, err)
	require.Len(t, found, len(StartOrder))
	seen := map[string]string{}
	for service, at := range found {
		for _, address := range []string{at.GRPC, at.HTTP, at.Probe, at.Admin} {
			require.NotEmpty(t, address)
			require.NotContains(t, seen, address, "%s has what %s has", service, seen[address])
			seen[address] = service
		}
	}
}
