//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The versions that make e2e has loaded: two builds of the same tree, which
// differ in what they call themselves.
const (
	v1 = "e2e-1"
	v2 = "e2e-2"
)

// patience bounds every wait for the cluster. It is far above what is needed.
const patience = 4 * time.Minute

// root is the repository.
var root = filepath.Join("..", "..")

// cluster is a namespace of its own, with the platform in it.
type cluster struct {
	t         *testing.T
	namespace string
	settings  []string // of the scripts: NAME=VALUE
}

// with is the cluster for scripts that have these settings, too.
func (c *cluster) with(settings ...string) *cluster {
	return &cluster{c.t, c.namespace, append(slices.Clone(c.settings), settings...)}
}

// newCluster checks that the cluster may be used.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, namespace: "holdfast-e2e"}
	name := strings.TrimSpace(c.must("config", "current-context"))
	if !strings.HasPrefix(name, "kind-") && name != os.Getenv("HOLDFAST_E2E_CONTEXT") {
		t.Fatalf("the context %q is not marked as safe for tests: set HOLDFAST_E2E_CONTEXT=%s if it is", name, name)
	}
	return c
}

// try runs kubectl in the namespace.
func (c *cluster) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return run(ctx, exec.CommandContext(ctx, "kubectl", append([]string{"--namespace", c.namespace}, args...)...))
}

func (c *cluster) must(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	require.NoError(c.t, err)
	return out
}

// apply applies a manifest.
func (c *cluster) apply(manifest string) {
	c.t.Helper()
	cmd := exec.Command("kubectl", "--namespace", c.namespace, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	_, err := run(c.t.Context(), cmd)
	require.NoError(c.t, err)
}

// script runs one of the scripts under deploy, as a person would.
func (c *cluster) script(name string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(root, "deploy", name), args...)
	cmd.Env = append(append(os.Environ(), "NAMESPACE="+c.namespace), c.settings...)
	began := time.Now()
	out, err := run(c.t.Context(), cmd)
	c.t.Logf("deploy/%s %s took %s", name, strings.Join(args, " "), time.Since(began).Round(100*time.Millisecond))
	return out, err
}

func (c *cluster) mustScript(name string, args ...string) string {
	c.t.Helper()
	out, err := c.script(name, args...)
	require.NoError(c.t, err)
	return out
}

// run returns what a command prints; its error has what it says is wrong.
func run(_ context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil // kubectl warns on the other
}

// start brings the overlay up from nothing, in the given version.
func (c *cluster) start(overlay, version string) {
	c.t.Helper()
	c.remove()
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.describe()
		}
		if os.Getenv("HOLDFAST_E2E_KEEP") == "" {
			c.remove()
		}
	})
	c.mustScript("release", overlay, version)
}

// remove deletes the namespace and waits until it is gone. Those who ask go first,
// and Postgres last: a gateway that can no longer book what a model has written keeps
// trying for as long as its pod is given.
func (c *cluster) remove() {
	c.t.Helper()
	if _, err := c.try("get", "namespace", c.namespace); err == nil {
		c.must("delete", "jobs", "--all", "--wait", "--cascade=foreground", "--timeout=2m")
		c.must("delete", "deployments", "--all", "--wait", "--cascade=foreground", "--timeout=3m")
	}
	c.must("delete", "namespace", c.namespace, "--ignore-not-found", "--wait", "--timeout=3m")
}

// describe prints what a person would look at first.
func (c *cluster) describe() {
	for _, args := range [][]string{
		{"get", "nodes", "-o", `custom-columns=NODE:.metadata.name,TAINTS:.spec.taints[*].key,CONDITIONS:.status.conditions[?(@.status=="True")].type`},
		{"get", "pods", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "-l", "app.kubernetes.io/name in (orders, llm-gateway)", "--tail=20", "--prefix"},
	} {
		out, err := c.try(args...)
		if len(out) > 8000 {
			out = out[len(out)-8000:]
		}
		c.t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}

// rolledOut waits until a Deployment is.
func (c *cluster) rolledOut(deployments ...string) {
	c.t.Helper()
	for _, d := range deployments {
		c.must("rollout", "status", "deployment/"+d, "--timeout=3m")
	}
}

// pods are the names of the running pods that a selector picks.
func (c *cluster) pods(selector string) []string {
	c.t.Helper()
	return strings.Fields(c.must("get", "pods", "-l", selector, "--field-selector=status.phase=Running",
		"-o", `go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}`))
}

// number reads a setting of this run from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}
