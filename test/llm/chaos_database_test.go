package llm

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// remote is a replica whose database can be taken away from it.
type remote struct {
	*servicetest.Running
	p     *platform
	proxy *pgproxy.Proxy
}

// remote starts one on the same database.
func (p *platform) remote(env ...string) *remote {
	p.t.Helper()
	proxy, url := pgproxy.New(p.t, p.gateway.Database.URL)
	env = append(env, "HOLDFAST_DATABASE_URL", url+"&application_name=remote", "HOLDFAST_LLM_SETTLE_FOR", "300ms", "HOLDFAST_DATABASE_CONNECT_TIMEOUT", "2s")
	return &remote{p.another(env...), p, proxy}
}

// lose ends all its connections, and lets it have no others until giveBack is called,
// or the test ends.
func (r *remote) lose() (giveBack func()) {
	r.p.t.Helper()
	giveBack = sync.OnceFunc(r.proxy.Hold())
	r.p.t.Cleanup(giveBack)
	pool := r.p.gateway.Database.Pool
	_, err := pool.Exec(r.p.t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remote' AND datname = current_database()`)
	require.NoError(r.p.t, err)
	return giveBack
}

// begin begins a stream in each protocol that is silent for a while after its third
// word: long enough to lose the database meanwhile.
func (r *remote) begin(key string) []*http.Response {
	r.p.t.Helper()
	r.p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultStall, Chunks: 3, Delay: sandbox.Duration(3 * time.Second)}})
	var begun []*http.Response
	for _, protocol := range protocols {
		response, err := post(r.p.t, r.p.t.Context(), r.HTTPURL, protocol.path, said(protocol.path, protocol.model, "say something", asStream), keyed(key+protocol.name)...)
		require.NoError(r.p.t, err)
		require.Equal(r.p.t, http.StatusOK, response.StatusCode)
		begun = append(begun, response)
	}
	return begun
}

// whole reads what begin began, and holds that each has its end.
func (r *remote) whole(begun []*http.Response) (bodies []string) {
	r.p.t.Helper()
	for i, response := range begun {
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		require.NoError(r.p.t, err)
		require.True(r.p.t, strings.HasSuffix(string(body), protocols[i].end), string(body))
		bodies = append(bodies, string(body))
	}
	return bodies
}

// TestAnAnswerDoesNotWaitForALostDatabase: it is given, and is booked, with its key,
// when the database is back.
func TestAnAnswerDoesNotWaitForALostDatabase(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	r := p.remote()
	begun := r.begin("lost-")
	giveBack := r.lose()
	bodies := r.whole(begun)
	require.Equal(t, len(protocols), p.attempts()["dispatched"], "it was booked, so that the database was there")
	giveBack()
	p.balance()
	require.Zero(t, p.askedAbout(), "who had the answer knew what it cost")
	for i, protocol := range protocols {
		again := p.ask(protocol.path, said(protocol.path, protocol.model, "say something", asStream), keyed("lost-"+protocol.name)...)
		require.Equal(t, bodies[i], again.body)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	}
}

// TestWhatIsNotBookedInTimeIsAskedFor by another replica, and what its owner writes
// when the database is back changes nothing any more.
func TestWhatIsNotBookedInTimeIsAskedFor(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	r := p.remote("HOLDFAST_LLM_LEASE", "2s")
	begun := r.begin("late-")
	giveBack := r.lose()
	r.whole(begun)
	p.balance()
	require.Equal(t, len(protocols), p.askedAbout())
	giveBack()
	for _, protocol := range protocols { // its answer is lost with it
		a := p.ask(protocol.path, said(protocol.path, protocol.model, "say something", asStream), keyed("late-"+protocol.name)...)
		require.Equal(t, "generation_interrupted", a.problem(t).Error.Code, a.body)
	}
	time.Sleep(1500 * time.Millisecond) // the settler tries every second
	p.balance()
}

// TestWithoutADatabaseNothingLeaves: what cannot be reserved is refused.
func TestWithoutADatabaseNothingLeaves(t *testing.T) {
	t.Parallel()
	p := start(t, everyModel)
	r := p.remote()
	r.lose()
	for _, protocol := range protocols {
		a := asked(t, r.HTTPURL, protocol.path, said(protocol.path, protocol.model, "say something", asStream))
		require.Equal(t, http.StatusServiceUnavailable, a.status, a.body)
		require.Equal(t, "true", a.header.Get("X-Should-Retry"))
	}
	require.Empty(t, p.onInvoice())
}
