//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// active is the colour of a service that has the traffic.
func (c *cluster) active(service string) string {
	c.t.Helper()
	return c.must("get", "service", service, "-o", `jsonpath={.spec.selector.holdfast\.dev/slot}`)
}

// TestBlueGreenIsNotNoticed goes from blue to green and back, under load on
// connections that stay open, and takes llm-gateway to green while generations are
// under way on both colours; the long run interrupts a switch, too.
func TestBlueGreenIsNotNoticed(t *testing.T) {
	c := newCluster(t)
	c.start("blue-green", v1)
	require.Equal(t, "blue", c.active("orders"))
	p, l := c.prompt(), c.visit()

	l.harmless("blue to green", func() { c.mustScript("blue-green", "release", "orders", v2) })
	require.Equal(t, "green", c.active("orders"))
	require.Equal(t, []string{v2}, versions(l.phase("after blue to green").Versions), "the old version answers nobody")
	c.workersOf("green")

	l.harmless("rollback", func() {
		began := time.Now()
		c.mustScript("blue-green", "rollback", "orders")
		t.Logf("the rollback took %s, its drain included", time.Since(began).Round(100*time.Millisecond))
		// Another service switches while this one is watched.
		p.during("llm-gateway to green", func() {
			gateway := c
			if short(t) {
				gateway = c.with("REPLICAS=1") // two more take half a minute, and show nothing new
			}
			gateway.mustScript("blue-green", "release", "llm-gateway", v2)
		})
		p.begun("after llm-gateway to green", 5)
	})
	require.Equal(t, "green", c.active("llm-gateway"))
	require.Equal(t, "blue", c.active("orders"))
	require.Equal(t, []string{v1}, versions(l.phase("after rollback").Versions))
	c.workersOf("blue")
	if !short(t) {
		l.harmless("rollback of llm-gateway", func() {
			p.during("rollback", func() { c.mustScript("blue-green", "rollback", "llm-gateway") })
		})
		// The version that was rolled back is released again, and interrupted.
		l.harmless("interrupted", func() { c.interruptedSwitch() })
		require.Equal(t, "green", c.active("orders"))
		require.Equal(t, []string{v2}, versions(l.phase("after interrupted").Versions))
	}
	p.whole()
	require.Equal(t, []string{v2}, versions(p.phase("after llm-gateway to green").Versions), "the old version begins nothing any more")
	holds(t, l.verdict())
}

// workersOf requires that the workers of one colour work, and those of the other
// do not.
func (c *cluster) workersOf(active string) {
	c.t.Helper()
	for _, slot := range []string{"blue", "green"} {
		want := `holdfast_workers_working{worker="completer"} 0`
		if slot == active {
			want = `holdfast_workers_working{worker="completer"} 1`
		}
		for _, pod := range c.pods("app.kubernetes.io/name=orders,holdfast.dev/slot=" + slot) {
			require.Eventually(c.t, func() bool {
				metrics, err := c.try("get", "--raw", "/api/v1/namespaces/"+c.namespace+"/pods/"+pod+":8081/proxy/metrics")
				return err == nil && strings.Contains(metrics, want)
			}, 2*time.Minute, time.Second, "%s: %s", pod, want)
		}
	}
}

// interruptedSwitch kills the script in the middle of its switch, then runs it
// again.
func (c *cluster) interruptedSwitch() {
	c.t.Helper()
	ctx, kill := context.WithCancel(c.t.Context())
	defer kill()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "deploy", "blue-green"), "release", "orders", v2)
	cmd.Env = append(os.Environ(), "NAMESPACE="+c.namespace)
	stderr, err := cmd.StderrPipe()
	require.NoError(c.t, err)
	require.NoError(c.t, cmd.Start())
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), "4/6") {
			kill()
		}
	}
	require.Error(c.t, cmd.Wait())
	c.mustScript("blue-green", "release", "orders", v2)
}

// Without the drain, connections that exist stay on the old colour: the switch
// of a Service moves new ones only.
func TestWithoutTheDrainTheOldColourKeepsItsConnections(t *testing.T) {
	longRunOnly(t)
	c := newCluster(t)
	c.start("blue-green", v1)
	l := c.control()
	c.must("set", "image", "deployment/orders-green", "orders=holdfast/orders:"+v2)
	c.must("scale", "deployment/orders-green", "--replicas=3")
	c.rolledOut("orders-green")
	l.during("switch without drain", func() {
		for _, name := range []string{"orders", "orders-headless"} {
			c.must("patch", "service", name, "--type=merge", "-p", `{"spec":{"selector":{"holdfast.dev/slot":"green"}}}`)
		}
	})
	after := l.phase("after switch without drain").Versions
	require.Positive(t, after[v2], "new connections go to green: %v", after)
	require.Positive(t, after[v1], "a proof that cannot fail proves nothing: %v", after)
	require.Empty(t, l.verdict().Audit.Violations)
}

// TestAFailingSmokeTestLeavesBlueServing: the next version refuses every order.
func TestAFailingSmokeTestLeavesBlueServing(t *testing.T) {
	longRunOnly(t)
	c := newCluster(t)
	c.start("blue-green", v1)
	l := c.visit()
	broken := writeOverlay(t, "broken", `
resources: [../../deploy/overlays/blue-green]
patches:
  - target: {kind: Deployment, name: orders-green}
    patch: |-
      - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: HOLDFAST_MAX_MESSAGE, value: "10"}}
`)
	broken, err := filepath.Abs(broken)
	require.NoError(t, err)
	l.harmless("smoke fails", func() {
		t.Setenv("OVERLAY", broken)
		out, err := c.script("blue-green", "release", "orders", v2)
		require.Error(t, err)
		require.Contains(t, err.Error(), "the smoke test failed; blue goes on serving", out)
	})
	require.Equal(t, "blue", c.active("orders"))
	require.Equal(t, []string{v1}, versions(l.phase("after smoke fails").Versions))
	holds(t, l.verdict())
}
