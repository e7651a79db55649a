//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What each control takes away from the rolling overlay. The platform then loses
// requests in the very restart that it does not notice otherwise; the invariants
// hold all the same, because keys make a lost answer harmless.
var controls = map[string]string{
	// Neither Kubernetes nor the process waits until endpoints have changed.
	"no wait before leaving": `
patches:
  - target: {kind: Deployment, name: (orders|payments)}
    patch: |-
      - {op: remove, path: /spec/template/spec/containers/0/lifecycle}
configMapGenerator:
  - {name: orders-config, behavior: merge, literals: [HOLDFAST_LAME_DUCK=0s]}
  - {name: payments-config, behavior: merge, literals: [HOLDFAST_LAME_DUCK=0s]}
`,
	// The process goes without telling anybody. It is the same code, run by the
	// command that can be sabotaged; the services' own binaries cannot.
	"no readiness flip": `
patches:
  - target: {kind: Deployment, name: orders}
    patch: |-
      - {op: remove, path: /spec/template/spec/containers/0/lifecycle}
      - {op: replace, path: /spec/template/spec/containers/0/image, value: "holdfast/holdfast:e2e-1"}
      - {op: add, path: /spec/template/spec/containers/0/args, value: [serve, orders, --sabotage=no-readiness-flip]}
`,
	// The process stops in the middle of its requests; llm-gateway, which has no
	// such command, a second after it was told to.
	"no drain": `
configMapGenerator:
  - {name: llm-gateway-config, behavior: merge, literals: [HOLDFAST_DRAIN_CAP=1s]}
patches:
  - target: {kind: Deployment, name: orders}
    patch: |-
      - {op: remove, path: /spec/template/spec/containers/0/lifecycle}
      - {op: replace, path: /spec/template/spec/containers/0/image, value: "holdfast/holdfast:e2e-1"}
      - {op: add, path: /spec/template/spec/containers/0/args, value: [serve, orders, --sabotage=no-drain]}
`,
	// The process is killed in the middle of its drain: the kubelet gives two
	// seconds to whoever has none.
	"no grace": `
patches:
  - target: {kind: Deployment, name: (orders|payments|llm-gateway)}
    patch: |-
      - {op: remove, path: /spec/template/spec/containers/0/lifecycle}
      - {op: replace, path: /spec/template/spec/terminationGracePeriodSeconds, value: 0}
`,
}

// cutting are those that cut generations off, too. Who begins one at a replica that
// leaves is told so in any case.
var cutting = map[string]bool{"no drain": true, "no grace": true}

func TestWithoutItsSafeguardsARestartIsNoticed(t *testing.T) {
	c := newCluster(t)
	for name, without := range controls {
		if short(t) && name != "no drain" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.start(c.overlay("control", without), v1)
			var p *prompts
			if cutting[name] {
				p = c.prompt()
			}
			l := c.control()
			if p != nil {
				p.begun("before", int64(p.streams)/2)
			}
			noticed := func() bool {
				return l.ask("report") == nil && l.phase("restart").Failed > 0 && (p == nil || p.ask("report") == nil && len(p.said.Failed) > 0)
			}
			l.during("restart", func() {
				// One restart can be lucky.
				for n := 0; n < 3 && !noticed(); n++ {
					c.must("rollout", "restart", "deployment/orders", "deployment/payments", "deployment/llm-gateway")
					c.rolledOut("orders", "payments", "llm-gateway")
				}
			})
			require.True(t, noticed(), "a proof that cannot fail proves nothing")
			if p != nil {
				t.Logf("generations: %v of %d", p.said.Failed, p.said.Sent)
			}
			require.Empty(t, l.verdict().Audit.Violations, "failed is not lost")
		})
	}
}

// writeOverlay writes a kustomization that is not in the repository, beside what
// else is built.
func writeOverlay(t *testing.T, name, kustomization string) string {
	t.Helper()
	dir := filepath.Join(root, ".build", "e2e-"+name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o644))
	return dir
}
