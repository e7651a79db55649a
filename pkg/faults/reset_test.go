//go:build faults

package faults

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func wrapSeed(seed uint64, rules string) (string, error) {
	text, err := json.Marshal(map[string]any{"seed": seed, "rules": json.RawMessage(rules)})
	return string(text), err
}

// TestAResetIsNoCleanClose: a client that is told goodbye behaves otherwise than
// one whose connection breaks.
func TestAResetIsNoCleanClose(t *testing.T) {
	for when, bought := range map[string]int64{before: 0, after: 1} {
		w := start(t)
		c, bystander := w.client(), w.client()
		require.NoError(t, c.call(look))
		require.NoError(t, bystander.call(look))
		w.put(`{"rules": [{"method": "` + buy + `", "percent": 100, "fault": "reset", "when": "` + when + `"}]}`)
		require.Equal(t, codes.Unavailable, status.Code(c.call(buy)))
		c.end.await(t, syscall.ECONNRESET)
		require.Equal(t, bought, w.bought.Load(), when)
		require.NoError(t, bystander.call(look))
		require.NoError(t, bystander.end.soFar(), "only the call's own connection ends")
		require.NoError(t, c.call(look), "the client comes back on another")
	}
}

// TestConnectionsThatEndAreForgotten: what is noted of them must not pile up.
func TestConnectionsThatEndAreForgotten(t *testing.T) {
	w := start(t)
	open := func() (n int) {
		w.injector.conns.Range(func(any, any) bool { n++; return true })
		return n
	}
	c := w.client()
	require.NoError(t, c.call(look))
	require.Equal(t, 1, open())
	c.Close()
	require.Eventually(t, func() bool { return open() == 0 }, 10*time.Second, time.Millisecond)
}
