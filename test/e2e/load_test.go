//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// visitor is the load: a Job in the cluster, where its clients are, and away from
// the nodes that are drained.
const visitor = `
apiVersion: batch/v1
kind: Job
metadata:
  name: load
spec:
  backoffLimit: 0
  template:
    metadata:
      labels: {app.kubernetes.io/name: load, app.kubernetes.io/part-of: holdfast}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      nodeSelector: {kubernetes.io/hostname: %[1]q}
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: load
          image: holdfast/holdfast:%[2]s
          args: [load, --grpc=orders:9090, --http=orders:8080, --sandbox=http://sandbox:8080, --rate=%[3]d, --watches=%[4]d]
          env:
            - name: HOLDFAST_ORDERS_DATABASE_URL
              valueFrom: {secretKeyRef: {name: orders-secrets, key: HOLDFAST_DATABASE_URL}}
            - name: HOLDFAST_PAYMENTS_DATABASE_URL
              valueFrom: {secretKeyRef: {name: payments-secrets, key: HOLDFAST_DATABASE_URL}}
          resources: {requests: {cpu: 100m, memory: 256Mi, ephemeral-storage: 16Mi}, limits: {memory: 256Mi, ephemeral-storage: 16Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
`

// steered is a load in the cluster, and what it said last.
type steered struct {
	*cluster
	pod  string
	said drill.Verdict // by the last command
}

// load is the visitor at work.
type load struct {
	steered
	rate, watches, requests int
}

// visit starts the load. Each phase then has at least the number of requests
// that HOLDFAST_E2E_REQUESTS says (10,000), at HOLDFAST_E2E_RATE a second (100).
// HOLDFAST_E2E_WATCHES clients a second (1) begin to follow an order: a watch that
// is not handed over whole when its replica leaves has failed like any request.
func (c *cluster) visit() *load {
	c.t.Helper()
	l := &load{
		rate: number(c.t, "HOLDFAST_E2E_RATE", 100), requests: number(c.t, "HOLDFAST_E2E_REQUESTS", 10_000),
		watches: number(c.t, "HOLDFAST_E2E_WATCHES", 1),
	}
	l.steered = c.steer("load", fmt.Sprintf(visitor, c.fixedNode(), v1, l.rate, l.watches))
	require.Eventually(c.t, func() bool { return l.ask("report") == nil && l.said.Sent > int64(l.rate) }, patience, time.Second, "the load is on")
	return l
}

// control is visit for what must fail: one failure is enough, so that the phases
// need no more requests than a change takes.
func (c *cluster) control() *load {
	c.t.Helper()
	l := c.visit()
	l.requests = min(l.requests, 20*l.rate)
	return l
}

// fixedNode is the node of Postgres, of which there is one only: it is not
// drained, and what must not move goes there, too.
func (c *cluster) fixedNode() string {
	c.t.Helper()
	return strings.TrimSpace(c.must("get", "pod", "postgres-0", "-o", "jsonpath={.spec.nodeName}"))
}

// steer starts a Job with a load in it, and waits until it runs.
func (c *cluster) steer(job, manifest string) steered {
	c.t.Helper()
	c.apply(manifest)
	its := "batch.kubernetes.io/job-name=" + job
	c.must("wait", "--for=condition=Ready", "pod", "-l", its, "--timeout=2m")
	return steered{cluster: c, pod: c.pods(its)[0]}
}

// ask runs one of the commands of `holdfast load` in the load's container.
func (s *steered) ask(args ...string) error {
	out, err := s.try(append([]string{"exec", s.pod, "--", "/holdfast", "load"}, args...)...)
	if err != nil {
		return err
	}
	s.said = drill.Verdict{}
	if err := json.Unmarshal([]byte(out), &s.said); err != nil {
		return fmt.Errorf("reading %q: %w", out, err)
	}
	return nil
}

// of is what became of a phase of some traffic.
func (s *steered) of(traffic, name string) drill.Phase {
	s.t.Helper()
	i := slices.IndexFunc(s.said.Phases, func(p drill.Phase) bool { return p.Traffic == traffic && p.Name == name })
	require.GreaterOrEqual(s.t, i, 0, "phase %s of %q", name, traffic)
	return s.said.Phases[i]
}

// during does something to the platform while a phase of the load is on, and
// returns what clients saw in it. The phase lasts at least as long as its
// requests take.
func (l *load) during(name string, do func()) drill.Phase {
	l.t.Helper()
	require.NoError(l.t, l.ask("phase", name))
	began := time.Now()
	do()
	took := time.Since(began)
	if rest := time.Duration(float64(l.requests)/float64(l.rate)*float64(time.Second)) - took; rest > 0 {
		time.Sleep(rest)
	}
	// A slow card takes a second: what was sent last is answered after it.
	require.NoError(l.t, l.ask("phase", "after "+name))
	time.Sleep(3 * time.Second)
	require.NoError(l.t, l.ask("report"))
	p, followed := l.phase(name), l.watched(name)
	l.t.Logf("%-24s %6d watches  %4d failed  %v  %d handed over since the start", name, followed.Sent, followed.Failed, followed.Kinds, l.said.HandedOver)
	l.t.Logf("%-24s %6d sent  %4d failed  %v  p50 %.0f ms  p99 %.0f ms  the change took %s  versions %v", name, p.Sent, p.Failed, p.Kinds,
		p.P50*1000, p.P99*1000, took.Round(time.Second), p.Versions)
	if p.Failed+followed.Failed > 0 {
		l.t.Logf("%-24s examples: %v", name, l.said.Examples)
	}
	// What fails of either is what failed in the phase.
	p.Failed += followed.Failed
	for kind, n := range followed.Kinds {
		if p.Kinds == nil {
			p.Kinds = map[string]int64{}
		}
		p.Kinds[kind] += n
	}
	return p
}

// phase is what became of the orders of a phase, and watched of those who followed
// one.
func (l *load) phase(name string) drill.Phase { return l.of("", name) }

func (l *load) watched(name string) drill.Phase { return l.of("watches", name) }

// harmless is during for what must not be noticed.
func (l *load) harmless(name string, do func()) drill.Phase {
	l.t.Helper()
	p := l.during(name, do)
	require.Positive(l.t, p.Sent)
	require.Zero(l.t, p.Failed, "%s: %v", name, p.Kinds)
	return p
}

// verdict ends the load and returns what it found, the audit included.
func (l *load) verdict() drill.Verdict {
	l.t.Helper()
	require.NoError(l.t, l.ask("stop"))
	audited := l.said.Audit.Audited
	l.t.Logf("all in all: %d sent, %v failed; audited %d orders, %d payments, %d processor operations; %d violations",
		l.said.Sent, l.said.Failed, audited.Orders, audited.Payments, audited.Operations, len(l.said.Audit.Violations))
	return l.said
}

// holds requires that nothing at all failed and every invariant holds.
func holds(t *testing.T, v drill.Verdict) {
	t.Helper()
	require.Empty(t, v.Audit.Violations)
	require.Positive(t, v.Audit.Audited.Orders)
	require.Empty(t, v.Failed)
	require.True(t, v.Passed)
}
