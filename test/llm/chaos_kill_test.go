package llm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// victim is a replica in a process of its own, which can be killed.
type victim struct {
	url     string
	process *exec.Cmd
	said    bytes.Buffer // when it has ended
	killed  atomic.Bool
}

// mortal starts a replica on the same database as a process.
func (p *platform) mortal(env ...string) *victim {
	p.t.Helper()
	free, err := local.FreeAddresses(p.t.Context())
	require.NoError(p.t, err)
	v := &victim{url: "http://" + free.HTTP, process: exec.CommandContext(context.WithoutCancel(p.t.Context()), os.Args[0])} // kill ends it
	all := append([]string{
		replicaVariable, "1", "HOLDFAST_ENV", "development", "HOLDFAST_DERIVATION_SECRETS", servicetest.DerivationSecrets,
		"HOLDFAST_GRPC_ADDR", free.GRPC, "HOLDFAST_HTTP_ADDR", free.HTTP, "HOLDFAST_PROBE_ADDR", free.Probe, "HOLDFAST_ADMIN_ADDR", free.Admin,
		"HOLDFAST_DATABASE_URL", p.gateway.Database.URL,
	}, append(p.env, env...)...)
	v.process.Env = os.Environ()
	for i := 0; i < len(all); i += 2 {
		v.process.Env = append(v.process.Env, all[i]+"="+all[i+1])
	}
	v.process.Stdout, v.process.Stderr = &v.said, &v.said
	require.NoError(p.t, v.process.Start())
	p.t.Cleanup(func() {
		v.kill()
		if p.t.Failed() {
			p.t.Logf("--- the process that was killed said:\n%s", v.said.String())
		}
	})
	require.Eventually(p.t, func() bool {
		response, err := http.Get("http://" + free.Probe + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond, "the process does not become ready")
	return v
}

// kill ends it as a power cut would.
func (v *victim) kill() {
	if v.killed.Swap(true) {
		return
	}
	_ = v.process.Process.Kill() // it may have ended by itself, which the test sees
	_ = v.process.Wait()         // says that it was killed
}

// orphan is a request whose replica is killed, and what a repeat finds.
type orphan struct {
	path, key, body string
	status          int    // of the repeat
	code            string // of its error
}

// TestAKilledReplicaLeavesNothingUnpaid: another asks what became of its requests, and
// until it knows, what they may cost stays reserved.
func TestAKilledReplicaLeavesNothingUnpaid(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel, "HOLDFAST_LLM_HORIZON", "2s")
	v := p.mortal("HOLDFAST_LLM_LEASE", "1500ms", "HOLDFAST_SHED_ENABLED", "false")
	p.script(
		sandbox.Rule{Prompt: "write on", Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(100 * time.Millisecond)}},
		sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(5 * time.Millisecond)}},
	)

	var orphans []orphan
	for _, protocol := range protocols {
		for what, o := range map[string]orphan{
			"stream":   {body: said(protocol.path, protocol.model, "write on [[tokens 900]]", asStream), status: http.StatusBadGateway, code: "generation_interrupted"},
			"answer":   {body: said(protocol.path, protocol.model, "write on [[tokens 900]]", asJSON), status: http.StatusBadGateway, code: "generation_interrupted"},
			"unbilled": {body: said(protocol.path, protocol.model, "say something [[fault timeout; sends=1]]", asJSON), status: http.StatusOK},
		} {
			o.path, o.key = protocol.path, what+"-"+protocol.name
			orphans = append(orphans, o)
		}
	}
	finished := said(openAI, "sandbox-small", "say something", asStream)
	first := asked(t, v.url, openAI, finished, keyed("finished")...)
	require.Equal(t, http.StatusOK, first.status, first.body)

	var clients sync.WaitGroup
	for _, o := range orphans {
		clients.Go(func() { // whatever it gets is cut
			if response, err := post(t, t.Context(), v.url, o.path, o.body, keyed(o.key)...); err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
	// These come and go, so that some are at every point of their way.
	var told tally
	for i := range 12 {
		clients.Go(func() {
			draw := rand.New(rand.NewPCG(2, uint64(i)))
			for n := 0; !v.killed.Load(); n++ {
				protocol := protocols[draw.IntN(2)]
				how := []string{asStream, asJSON}[draw.IntN(2)]
				prompt := fmt.Sprintf("client %d, %d [[tokens %d]]", i, n, 5+draw.IntN(20))
				response, err := post(t, t.Context(), v.url, protocol.path, said(protocol.path, protocol.model, prompt, how))
				if err != nil {
					return // it was killed
				}
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				told.add(fmt.Sprint(response.StatusCode, " ", err == nil))
			}
		})
	}
	under := func() (n int) {
		err := p.gateway.Database.Pool.QueryRow(t.Context(), `SELECT count(*) FROM llm_attempts WHERE idempotency_key <> 'finished' AND state = 'dispatched'`).Scan(&n)
		assert.NoError(t, err)
		return n
	}
	require.Eventually(t, func() bool { return under() == len(orphans) && len(p.onInvoice()) > 40 }, 30*time.Second, 10*time.Millisecond)
	v.kill()
	clients.Wait()
	t.Logf("clients were told %v; the kill left %v", told.counts, p.attempts())
	require.NotZero(t, p.attempts()["dispatched"])

	require.Eventually(t, func() bool { return p.unknown() > 0 }, 30*time.Second, 10*time.Millisecond, "what is not known is not shown")
	for _, o := range orphans {
		a := p.decided(p.gateway.HTTPURL, o.path, o.body, o.key)
		require.Equal(t, o.status, a.status, "%s: %s", o.key, a.body)
		if o.code != "" {
			require.Equal(t, o.code, a.problem(t).Error.Code)
		}
		require.Empty(t, a.header.Get("Idempotent-Replayed"), o.key)
	}
	again := p.ask(openAI, finished, keyed("finished")...)
	require.Equal(t, first.body, again.body, "what was answered before is answered again")
	p.balance()
	require.Zero(t, p.unknown())
	rows, err := p.gateway.Database.Pool.Query(t.Context(), `SELECT idempotency_key, count(*) FROM llm_attempts WHERE idempotency_key IS NOT NULL AND cost > 0 GROUP BY 1`)
	require.NoError(t, err)
	defer rows.Close()
	bills := 0
	for ; rows.Next(); bills++ {
		var key string
		var times int
		require.NoError(t, rows.Scan(&key, &times))
		require.Equal(t, 1, times, "%s was billed more than once", key)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, len(orphans)+1, bills)
}

// unknown is how many attempts have a cost that is not known, as its tenant is told.
func (p *platform) unknown() (n int64) {
	p.t.Helper()
	usage, err := llmv1.NewLLMGatewayServiceClient(p.gateway.As(auth.DevelopmentKey)).GetUsage(p.t.Context(), &llmv1.GetUsageRequest{})
	if !assert.NoError(p.t, err) {
		return 0
	}
	for _, row := range usage.GetRows() {
		n += row.GetUnknown()
	}
	return n
}
