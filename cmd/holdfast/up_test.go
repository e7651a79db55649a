package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

// running is `holdfast up` as a process.
type running struct {
	cmd    *exec.Cmd
	output *logtest.Buffer
	url    string
	data   string
}

// startUp runs `holdfast up` with the arguments until it has greeted. Nobody
// else's ports are in the way: it takes the next free ones.
func startUp(t testing.TB, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(built(t), append([]string{"up", "--port", "0"}, args...)...), output: &logtest.Buffer{}}
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	r.cmd.Env = append(os.Environ(), "HOLDFAST_DATABASE_URL=") // always one of its own
	require.NoError(t, r.cmd.Start())
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil { // the test failed before it stopped it
			_ = r.cmd.Process.Signal(syscall.SIGTERM)
			_ = r.cmd.Wait()
		}
		if t.Failed() {
			t.Log(r.output.String())
		}
	})
	require.Eventually(t, func() bool { return strings.Contains(r.output.String(), "Ctrl-C drains") }, time.Minute, 50*time.Millisecond)
	r.url = regexp.MustCompile(`http://localhost:\d+`).FindString(r.output.String())
	r.data = regexp.MustCompile(`data, logs\s+(\S+)`).FindStringSubmatch(r.output.String())[1]
	return r
}

// end sends the signal and waits for the end.
func (r *running) end(t testing.TB, signal os.Signal) error {
	t.Helper()
	require.NoError(t, r.cmd.Process.Signal(signal))
	return r.cmd.Wait()
}

// answer is what a client sees of POST /v1/orders.
type answer struct {
	status   int
	replayed string
	body     string
}

func (r *running) place(key string) (answer, error) {
	request, err := http.NewRequest(http.MethodPost, r.url+"/v1/orders",
		strings.NewReader(`{"lines":[{"product_id":"espresso-beans","quantity":2}],"payment_method":"pm_card_ok"}`))
	if err != nil {
		return answer{}, err
	}
	request.Header = http.Header{
		"Authorization":   {"Bearer " + auth.DevelopmentKey},
		"Content-Type":    {"application/json"},
		"Idempotency-Key": {key},
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("Idempotent-Replayed"), string(body)}, err
}

// placeWithRetries does what the contract asks of a client: whoever is told
// 503 sends the same request again, with the same key.
func (r *running) placeWithRetries(t *testing.T, key string) (a answer) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		a, err = r.place(key)
		require.NoError(t, err)
		if a.status == http.StatusServiceUnavailable {
			require.Contains(t, a.body, `"same_key"`)
		}
		return a.status != http.StatusServiceUnavailable
	}, 30*time.Second, 100*time.Millisecond)
	return a
}

// order returns the order of an answer as it is now.
func (r *running) order(t *testing.T, a answer) (id, state string) {
	t.Helper()
	type envelope struct {
		Order struct{ ID, State string }
	}
	var placed, now envelope
	require.NoError(t, json.Unmarshal([]byte(a.body), &placed), a.body)
	request, err := http.NewRequest(http.MethodGet, r.url+"/v1/orders/"+placed.Order.ID, http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.NoError(t, json.NewDecoder(response.Body).Decode(&now))
	return placed.Order.ID, now.Order.State
}

func (r *running) kill(t *testing.T, service string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.data, "run", service+".pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

func newKey() string { return uuid.Must(uuid.NewV7()).String() }

func TestUpPlacesAPaidOrderOnceHealsAndDrains(t *testing.T) {
	r := startUp(t, "--ephemeral")
	key := newKey()
	first, err := r.place(key)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, first.status, first.body)
	_, state := r.order(t, first)
	require.Equal(t, "ORDER_STATE_PAID", state)

	again, err := r.place(key)
	require.NoError(t, err)
	require.Equal(t, answer{http.StatusOK, "true", first.body}, again, "the same order, byte for byte")

	for _, service := range local.StartOrder {
		r.kill(t, service)
		placed := r.placeWithRetries(t, newKey())
		require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, placed.status, "%s was killed: %s", service, placed.body)
		require.Eventually(t, func() bool {
			_, state := r.order(t, placed)
			return state == "ORDER_STATE_PAID"
		}, 30*time.Second, 100*time.Millisecond, "%s was killed", service)
	}
	again, err = r.place(key)
	require.NoError(t, err)
	require.Equal(t, first.body, again.body, "nothing is lost")

	for _, path := range []string{"/", "/docs", "/openapi.json"} {
		response, err := http.Get(r.url + path)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode, path)
	}

	require.NoError(t, r.end(t, os.Interrupt), "Ctrl-C drains and exits with 0")
	require.Contains(t, r.output.String(), "everything has drained")
	require.NotContains(t, r.output.String(), "\x1b", "no colours where there is no terminal")
	require.NoDirExists(t, r.data, "an ephemeral platform leaves nothing")
}

func TestDataIsKeptFromOneUpToTheNext(t *testing.T) {
	data, err := os.MkdirTemp("", "holdfast-up-test-") // not t.TempDir: Postgres's user could not reach it
	require.NoError(t, err)
	require.NoError(t, os.Chmod(data, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(data) })

	r, key := startUp(t, "--data", data), newKey()
	first, err := r.place(key)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, first.status, first.body)

	code, _, stderr := holdfast(t, "up", "--data", data)
	require.Equal(t, 1, code)
	require.Equal(t, fmt.Sprintf("holdfast: another `holdfast up` uses %s: stop it, or use --ephemeral or --data DIR\n", data), stderr)
	require.NoError(t, r.end(t, os.Interrupt))

	// This time the front port is taken: the next one is used, and that is said.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	r = startUp(t, "--data", data, "--port", strconv.Itoa(port))
	require.Contains(t, r.output.String(), fmt.Sprintf("port %d is taken: using ", port))
	again, err := r.place(key)
	require.NoError(t, err)
	require.Equal(t, answer{http.StatusOK, "true", first.body}, again)
	require.NoError(t, r.end(t, syscall.SIGHUP), "a terminal that is closed drains too")
}
