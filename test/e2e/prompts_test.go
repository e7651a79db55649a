//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// prompter is the load on llm-gateway: a Job that keeps generations open, beside the
// one that buys.
const prompter = `
apiVersion: batch/v1
kind: Job
metadata:
  name: prompts
spec:
  backoffLimit: 0
  template:
    metadata:
      labels: {app.kubernetes.io/name: load, app.kubernetes.io/part-of: holdfast}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1 # it would wait for the last word of each
      automountServiceAccountToken: false
      nodeSelector: {kubernetes.io/hostname: %[1]q}
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: load
          image: holdfast/holdfast:%[2]s
          args: [load, llm, --grpc=llm-gateway:9090, --http=llm-gateway:8080, --streams=%[3]d, --shortest=%[4]s, --longest=%[5]s]
          resources: {requests: {cpu: 50m, memory: 128Mi, ephemeral-storage: 16Mi}, limits: {memory: 128Mi, ephemeral-storage: 16Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
`

// prompts are generations that are open all the time.
type prompts struct {
	steered
	streams int
}

// prompt begins to keep HOLDFAST_E2E_STREAMS generations open (20), of 20 to 40 s
// each; the short run has half as many, a third as long, which still is longer than
// a pod waits before it leaves. They are clients that never try again: every one must
// end as its protocol ends.
func (c *cluster) prompt() *prompts {
	c.t.Helper()
	o := drill.DefaultPromptOptions()
	if short(c.t) {
		o.Streams, o.Shortest, o.Longest = o.Streams/2, o.Shortest/3, o.Longest/3
	}
	p := &prompts{streams: number(c.t, "HOLDFAST_E2E_STREAMS", o.Streams)}
	p.steered = c.steer("prompts", fmt.Sprintf(prompter, c.fixedNode(), v1, p.streams, o.Shortest, o.Longest))
	return p
}

// during does something to the platform in a phase of its own. What became of the
// generations of a phase is known when they have ended: see whole.
func (p *prompts) during(name string, do func()) {
	p.t.Helper()
	p.begun("before", int64(p.streams)/2)
	require.NoError(p.t, p.ask("phase", name))
	do()
	require.NoError(p.t, p.ask("phase", "after "+name))
	p.t.Logf("%-24s %6d generations begun  %v cut off so far", name, p.phase(name).Sent, p.said.Failed)
}

// phase is what became of the generations of a phase, as far as they have ended.
func (p *prompts) phase(name string) drill.Phase {
	p.t.Helper()
	return p.of("generations", name)
}

// begun waits until so many generations of a phase were begun.
func (p *prompts) begun(name string, n int64) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.ask("report") == nil && p.phase(name).Sent >= n }, patience, time.Second, "generations %s", name)
}

// whole ends the load, waits for the generations that are under way, and requires
// that each of all of them was whole.
func (p *prompts) whole() {
	p.t.Helper()
	require.NoError(p.t, p.ask("stop"))
	for _, phase := range p.said.Phases {
		p.t.Logf("%-30s %4d generations  %d failed  %v  p50 %.1f s  max %.1f s  versions %v",
			phase.Name, phase.Sent, phase.Failed, phase.Kinds, phase.P50, phase.Max, phase.Versions)
	}
	require.Empty(p.t, p.said.Failed, p.said.Examples)
	require.True(p.t, p.said.Passed)
	require.Greater(p.t, p.said.Sent, int64(p.streams), "more than were under way in the beginning")
	require.Zero(p.t, p.unknown(), "attempts of which nobody knows what they cost")
}

// unknown is how many attempts the ledger could not settle, as the gateway's
// replicas say.
func (p *prompts) unknown() (n int) {
	p.t.Helper()
	for _, pod := range p.pods("app.kubernetes.io/name=llm-gateway") {
		for line := range strings.Lines(p.must("get", "--raw", "/api/v1/namespaces/"+p.namespace+"/pods/"+pod+":8081/proxy/metrics")) {
			if value, ok := strings.CutPrefix(line, "holdfast_llm_unknown_attempts "); ok {
				var of int
				_, err := fmt.Sscan(value, &of)
				require.NoError(p.t, err)
				n = max(n, of) // each of them counts all
			}
		}
	}
	return n
}
