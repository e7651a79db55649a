//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// short leaves out all rows but the first, for a run in minutes.
func short(t *testing.T) bool { return number(t, "HOLDFAST_E2E_SHORT", 0) != 0 }

// longRunOnly is for tests that CI has no time for. No claim rests on them there:
// theirs say "not run here" (docs/claims.yaml).
func longRunOnly(t *testing.T) {
	t.Helper()
	if short(t) {
		t.Skip("HOLDFAST_E2E_SHORT leaves this to the long run")
	}
}

// TestNoChangeIsNoticed does every change that a running platform sees in its
// life, or those that HOLDFAST_E2E_CHANGES names. None may fail a request of a
// client that never tries again, nor cut off what a model is writing.
func TestNoChangeIsNoticed(t *testing.T) {
	c := newCluster(t)
	c.start("rolling", v1)
	p, l := c.prompt(), c.visit()
	services := []string{"orders", "payments", "llm-gateway"}
	deployments := []string{"deployment/orders", "deployment/payments", "deployment/llm-gateway"}

	wanted := wantedChanges()
	change := func(name string, do func()) {
		if wanted.MatchString(name) {
			l.harmless(name, func() { p.during(name, do) })
		}
	}
	change("image change", func() {
		c.mustScript("release", "rolling", v2)
		c.gone(services, 3) // the last of the old ones is still leaving when the release is done
	})
	if wanted.MatchString("image change") {
		require.Equal(t, []string{v2}, versions(l.phase("after image change").Versions))
	}
	if !short(t) {
		change("config change", func() {
			c.mustScript("release", c.overlay("config", `
configMapGenerator:
  - {name: orders-config, behavior: merge, literals: [HOLDFAST_LOG_LEVEL=warn]}
  - {name: payments-config, behavior: merge, literals: [HOLDFAST_LOG_LEVEL=warn]}
  - {name: llm-gateway-config, behavior: merge, literals: [HOLDFAST_LOG_LEVEL=warn]}
`), v2)
		})
		change("rollout restart", func() {
			c.must(append([]string{"rollout", "restart"}, deployments...)...)
			c.rolledOut(services...)
		})
		change("rollout undo", func() {
			for _, d := range deployments {
				c.must("rollout", "undo", d)
			}
			c.rolledOut(services...)
		})
		change("node drain", func() { c.drainOtherNode() })
		change("scale up", func() {
			c.must(append([]string{"scale", "--replicas=5"}, deployments...)...)
			c.rolledOut(services...)
		})
		change("scale down", func() {
			c.must(append([]string{"scale", "--replicas=3"}, deployments...)...)
			c.gone(services, 3)
		})
		change("pod deletion", func() {
			for _, name := range services {
				c.must("delete", "pod", c.pods("app.kubernetes.io/name=" + name)[0], "--wait")
				c.rolledOut(name)
			}
		})
	}
	p.whole()
	holds(t, l.verdict())
}

func versions(counts map[string]int64) []string {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	return names
}

// overlay makes an overlay on rolling that is not in the repository, with some
// more kustomization in it.
func (c *cluster) overlay(name, kustomization string) string {
	c.t.Helper()
	return writeOverlay(c.t, name, "resources: [../../deploy/overlays/rolling]\nnamespace: "+c.namespace+"\n"+kustomization)
}

// drainOtherNode empties a node that has pods of orders, but not the one with the
// single Postgres, and puts it back.
func (c *cluster) drainOtherNode() {
	c.t.Helper()
	fixed := map[string]bool{c.fixedNode(): true}
	sandbox := c.must("get", "pod", "-l", "app.kubernetes.io/name=sandbox", "-o", "jsonpath={.items[0].spec.nodeName}")
	fixed[strings.TrimSpace(sandbox)] = true
	for _, node := range strings.Fields(c.must("get", "pod", "-l", "app.kubernetes.io/name=orders", "-o", "jsonpath={.items[*].spec.nodeName}")) {
		if fixed[node] {
			continue
		}
		defer func() { c.must("uncordon", node) }()
		c.must("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=3m", "--pod-selector=app.kubernetes.io/part-of=holdfast")
		c.rolledOut("orders", "payments", "llm-gateway")
		return
	}
	c.t.Fatal("every pod of orders is on a node with something that exists once")
}

// gone waits until Deployments have no more pods than n, the leaving included.
func (c *cluster) gone(deployments []string, n int) {
	c.t.Helper()
	for _, name := range deployments {
		require.Eventually(c.t, func() bool {
			return len(strings.Fields(c.must("get", "pods", "-l", "app.kubernetes.io/name="+name, "-o", "name"))) <= n
		}, patience, time.Second, name)
	}
}

// wantedChanges are those that HOLDFAST_E2E_CHANGES names; all, if it names none.
func wantedChanges() *regexp.Regexp { return regexp.MustCompile(os.Getenv("HOLDFAST_E2E_CHANGES")) }

// TestABadReleaseStopsByItself: whatever is wrong with a release, nobody outside
// notices, and deploy/release puts back what was there.
func TestABadReleaseStopsByItself(t *testing.T) {
	longRunOnly(t)
	c := newCluster(t)
	c.start("rolling", v1)
	l := c.visit()
	wanted := wantedChanges()
	impatient := `{op: replace, path: /spec/progressDeadlineSeconds, value: 30}`
	for name, patch := range map[string]string{
		"never ready": fmt.Sprintf(`
patches:
  - target: {kind: Deployment, name: orders}
    patch: |-
      - %s
      - {op: replace, path: /spec/template/spec/containers/0/readinessProbe/httpGet/path, value: /nothing-here}
`, impatient),
		"crashes": fmt.Sprintf(`
patches:
  - target: {kind: Deployment, name: orders}
    patch: |-
      - %s
      - {op: add, path: /spec/template/spec/containers/0/args, value: [crash]}
`, impatient),
		"migration fails": `
patches:
  - target: {kind: Job, name: orders-migrate.*}
    patch: |-
      - {op: replace, path: /spec/template/spec/containers/0/args, value: [migrate-wrongly]}
      - {op: replace, path: /spec/backoffLimit, value: 0}
`,
	} {
		if !wanted.MatchString(name) {
			continue
		}
		before := c.must("get", "deployment/orders", "deployment/payments", "-o", "jsonpath={.items[*].spec.template.spec}")
		l.harmless(name, func() {
			out, err := c.script("release", c.overlay(strings.ReplaceAll(name, " ", "-"), patch), v2)
			require.Error(t, err, "the release must say that it failed: %s", out)
		})
		require.Equal(t, before, c.must("get", "deployment/orders", "deployment/payments", "-o", "jsonpath={.items[*].spec.template.spec}"),
			"%s: what ran before runs again", name)
		require.Equal(t, []string{v1}, versions(l.phase("after "+name).Versions), "the bad one never answered anybody for long")
	}
	holds(t, l.verdict())
}
