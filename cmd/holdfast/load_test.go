package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// TestLoadJudgesAPlatformThatRunsElsewhere steers a load as a deploy in a
// cluster does. The audit has a test of its own; without databases there is
// none.
func TestLoadJudgesAPlatformThatRunsElsewhere(t *testing.T) {
	r := startUp(t, "--ephemeral")
	at := regexp.MustCompile(`orders\s+gRPC (\S+)  http (\S+)`).FindStringSubmatch(r.output.String())
	require.NotNil(t, at, r.output.String())

	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), built(t), "load", "--grpc", at[1], "--http", at[2], "--rate", "30")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	require.Eventually(t, func() bool {
		code, _, _ := holdfast(t, "load", "phase", "during")
		return code == 0
	}, 10*time.Second, 50*time.Millisecond, "it can be steered")
	require.Eventually(t, func() bool {
		_, text, _ := holdfast(t, "load", "report")
		var soFar drill.Verdict
		return json.Unmarshal([]byte(text), &soFar) == nil && len(soFar.Phases) == 4 && soFar.Phases[1].Sent > 30 && soFar.Phases[3].Sent > 0
	}, 20*time.Second, 50*time.Millisecond)

	code, text, problems := holdfast(t, "load", "stop")
	require.Zero(t, code, problems)
	var verdict drill.Verdict
	require.NoError(t, json.Unmarshal([]byte(text), &verdict), text)
	require.True(t, verdict.Passed, text)
	require.Len(t, verdict.Phases[1].Versions, 1, "every answer names what gave it")
	require.Equal(t, "watches", verdict.Phases[3].Traffic)
	require.NoError(t, cmd.Wait(), stderr.String())
	require.Contains(t, stdout.String(), `"passed": true`)

	code, _, problems = holdfast(t, "load", "stop")
	require.Equal(t, 1, code)
	require.Equal(t, "holdfast: no load runs here: holdfast load starts one\n", problems)
	require.NoError(t, r.end(t, os.Interrupt))
}

func TestSmokeTellsAServiceThatWorksFromOneThatDoesNot(t *testing.T) {
	r := startUp(t, "--ephemeral")
	front := strings.TrimPrefix(r.url, "http://")
	for _, service := range []string{"orders", "payments", "llm-gateway"} {
		code, out, problems := holdfast(t, "smoke", service, "--http", front)
		require.Zero(t, code, problems)
		require.Contains(t, out, service+" at "+front+" answers rightly")
	}
	code, _, problems := holdfast(t, "smoke", "orders", "--http", front, "--key", "hf_nobody_nothing")
	require.Equal(t, 1, code)
	require.Contains(t, problems, "CREDENTIALS_INVALID")
	require.NoError(t, r.end(t, os.Interrupt))
	code, _, _ = holdfast(t, "smoke", "payments", "--http", front)
	require.Equal(t, 1, code, "nobody is there")
	code, _, problems = holdfast(t, "smoke", "sandbox")
	require.Equal(t, 1, code)
	require.Contains(t, problems, "no smoke test")
}

// Where nobody listens every request fails, and the verdict says so.
func TestLoadOnNothingFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())
	code, text, _ := holdfast(t, "load", "--grpc", nobody, "--http", nobody, "--rate", "50", "--for", "1s")
	require.Equal(t, 1, code)
	var verdict drill.Verdict
	require.NoError(t, json.Unmarshal([]byte(text), &verdict), text)
	require.Positive(t, verdict.Failed["connection refused"], text)

	code, _, problems := holdfast(t, "load", "--orders-database", "postgres://x", "--for", "1s")
	require.Equal(t, 1, code)
	require.Equal(t, "holdfast: an audit needs both databases and the sandbox\n", problems)
}
