//go:build docker

package compose

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRestartingAnyServiceLosesNothingAndFailsNobodyWhoRetries restarts each
// service while clients place orders.
func TestRestartingAnyServiceLosesNothingAndFailsNobodyWhoRetries(t *testing.T) {
	p := up(t)
	s := newShop(p)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	closed := s.open(ctx, 6)
	s.served(t, 20)
	for _, name := range []string{"orders", "payments", "llm-gateway", "sandbox", "front", "postgres"} {
		before := p.containers(t)[name].State.StartedAt
		began := time.Now()
		p.must(t, "restart", name)
		took := time.Since(began)
		require.NotEqual(t, before, p.containers(t)[name].State.StartedAt, "%s was not restarted", name)
		s.served(t, 20)
		t.Logf("%s restarted in %s, orders placed again after %s", name, took.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	}
	stop()
	closed()
	t.Logf("%d orders acknowledged, %d of them not at the first try, %d before they were paid, the slowest after %s",
		len(s.acknowledged), s.troubled, s.pending, s.slowest.Round(10*time.Millisecond))
	require.Empty(t, s.failed)
	// Without this, nobody would have noticed the restarts, and nothing is shown.
	require.Positive(t, s.troubled)
	require.Empty(t, s.losses(t))
}

// TestWithoutItsVolumeARestartLosesOrders is the control: a database that
// forgets, and the loss is seen.
func TestWithoutItsVolumeARestartLosesOrders(t *testing.T) {
	override := filepath.Join(t.TempDir(), "forget.yml")
	require.NoError(t, os.WriteFile(override, []byte(`
services:
  postgres:
    environment: {PGDATA: /var/lib/postgresql/data/in-memory}
    tmpfs: [/var/run/postgresql, /tmp, "/var/lib/postgresql/data:mode=1777"]
    volumes: !override ["./deploy/compose/databases.sql:/docker-entrypoint-initdb.d/databases.sql:ro"]
`), 0o600))
	p := up(t, override)
	s := newShop(p)
	for range 3 {
		s.buy(t.Context())
	}
	require.Empty(t, s.failed)
	require.Empty(t, s.losses(t))
	p.must(t, "restart", "postgres")
	p.must(t, "up", "--wait", "--no-recreate")
	require.NotEmpty(t, s.losses(t))
}

// served waits until so many more orders were acknowledged.
func (s *shop) served(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.acknowledged)
	}
	until := count() + more
	require.Eventually(t, func() bool { return count() >= until }, 2*window, 20*time.Millisecond, "clients get nowhere")
}
