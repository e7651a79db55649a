//go:build docker

package compose

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
)

// migrations run once and end; everything else serves.
var migrations = []string{"orders-migrate", "payments-migrate", "llm-gateway-migrate"}

// TestUpBringsEverythingUpFromNothingAndDownLeavesNothing is what a newcomer
// does first and last.
func TestUpBringsEverythingUpFromNothingAndDownLeavesNothing(t *testing.T) {
	p := up(t)
	all := p.containers(t)
	require.Len(t, all, 9)
	for name, c := range all {
		if slices.Contains(migrations, name) {
			require.Equal(t, "exited", c.State.Status, name)
			require.Zero(t, c.State.ExitCode, name)
			continue
		}
		require.Equal(t, "running", c.State.Status, name)
		require.NotNil(t, c.State.Health, "%s has no health check", name)
		require.Equal(t, "healthy", c.State.Health.Status, name)
	}
	p.asksModels(t)
	for _, path := range []string{"/", "/docs", "/openapi.json"} {
		response, err := http.Get(p.url() + path)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", path, body)
	}
	p.must(t, "up", "--build", "--wait") // again changes nothing
	for name, c := range p.containers(t) {
		require.Equal(t, all[name].Name, c.Name)
		if !slices.Contains(migrations, name) {
			require.Equal(t, all[name].State.StartedAt, c.State.StartedAt, "%s was started again", name)
		}
	}

	began := time.Now()
	p.must(t, "stop")
	t.Logf("stopped after %s", time.Since(began).Round(100*time.Millisecond))
	for name, c := range p.containers(t) {
		require.Zero(t, c.State.ExitCode, "%s did not end well", name)
		require.False(t, c.State.OOMKilled, name)
	}
	require.Equal(t, [3]int{9, 1, 2}, p.left(t))
	p.must(t, "down", "--volumes")
	require.Equal(t, [3]int{}, p.left(t))
}

// TestWhatIsPastedFromTheREADMEWorks runs the README's own text, at the port of
// the test, with the key from the image: there may be no Go here.
func TestWhatIsPastedFromTheREADMEWorks(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var paste string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(block[1], "curl") && strings.Contains(block[1], "Idempotency-Key") {
			paste = block[1]
			break
		}
	}
	require.NotEmpty(t, paste, "the README has no order to paste")
	p := up(t)
	paste = strings.ReplaceAll(paste, "localhost:8080", "localhost:"+p.port)
	paste = regexp.MustCompile(`\$\(.*uuid.*\)`).ReplaceAllString(paste, "$$(docker run --rm holdfast/holdfast:"+version+" uuid)")
	shell := exec.Command("bash", "-euc", paste)
	said, err := run(shell)
	require.NoError(t, err)

	responses := strings.Split(strings.ReplaceAll(said, "\r", ""), "HTTP/1.1 ")[1:]
	require.Len(t, responses, 2, said)
	var bodies []string
	for i, response := range responses {
		head, body, _ := strings.Cut(response, "\n\n")
		require.True(t, strings.HasPrefix(head, "200 OK"), said)
		require.Equal(t, i == 1, strings.Contains(head, "Idempotent-Replayed: true"), said)
		bodies = append(bodies, strings.TrimSpace(body))
	}
	require.Contains(t, bodies[0], `"ORDER_STATE_PAID"`)
	require.Equal(t, bodies[0], bodies[1])
}

// declared is what Compose makes of the file, profiles and includes in it.
type declared struct {
	Services map[string]struct {
		Image       string
		Profiles    []string
		ReadOnly    bool     `json:"read_only"`
		CapDrop     []string `json:"cap_drop"`
		CapAdd      []string `json:"cap_add"`
		SecurityOpt []string `json:"security_opt"`
		Privileged  bool
		User        string
		MemLimit    json.Number `json:"mem_limit"`
		Restart     string
		Grace       string `json:"stop_grace_period"`
		Environment map[string]string
		HealthCheck *struct{ Test []string }
		Ports       []struct {
			HostIP string `json:"host_ip"`
		}
	}
}

// ours are the services whose image is made here, or that hold the data.
func (d declared) ours() []string {
	var names []string
	for name, s := range d.Services {
		if len(s.Profiles) == 0 {
			names = append(names, name)
		}
	}
	return names
}

func declaredBy(t *testing.T, file string) (d declared) {
	t.Helper()
	p := &project{name: "holdfast-test", port: "8080", files: []string{file}}
	require.NoError(t, json.Unmarshal([]byte(p.must(t, "--profile=*", "config", "--format=json")), &d))
	require.NotEmpty(t, d.ours())
	return d
}

// exposures are what a container could do that it need not, as the file says it.
func exposures(d declared) []string {
	var found []string
	check := func(ok bool, name, what string) {
		if !ok {
			found = append(found, name+" "+what)
		}
	}
	for name, s := range d.Services {
		for _, port := range s.Ports {
			check(port.HostIP == "127.0.0.1", name, "is open to the network")
		}
		check(slices.Equal(s.CapDrop, []string{"ALL"}) && len(s.CapAdd) == 0 && !s.Privileged, name, "has capabilities")
		check(slices.Contains(s.SecurityOpt, "no-new-privileges:true"), name, "can get privileges")
		if !slices.Contains(d.ours(), name) {
			continue
		}
		check(s.ReadOnly, name, "can write its root")
		check(s.MemLimit != "" && s.MemLimit != "0", name, "may take all memory")
		check(s.User != "root" && s.User != "0" && (s.User != "" || strings.HasPrefix(s.Image, "holdfast/")), name, "may be root")
		check(!strings.HasSuffix(s.Image, ":latest") && strings.Contains(s.Image, ":"), name, "runs whatever is newest")
		if slices.Contains(migrations, name) {
			check(s.Restart == "no", name, "would migrate for ever")
			continue
		}
		check(s.Restart == "unless-stopped", name, "stays down")
		check(s.HealthCheck != nil, name, "has no health check")
	}
	return found
}

func TestContainersCanDoWhatTheyMustAndNoMore(t *testing.T) {
	require.Empty(t, exposures(declaredBy(t, "docker-compose.yml")))
}

// TestEveryExposureIsSeen is the control: a file as they often are.
func TestEveryExposureIsSeen(t *testing.T) {
	const careless = "services: {orders: {image: 'orders:latest', privileged: true, ports: ['8080:8080']}}"
	file := t.TempDir() + "/careless.yml"
	require.NoError(t, os.WriteFile(file, []byte(careless), 0o600))
	require.ElementsMatch(t, []string{
		"orders is open to the network", "orders has capabilities", "orders can get privileges", "orders can write its root",
		"orders may take all memory", "orders may be root", "orders runs whatever is newest", "orders stays down", "orders has no health check",
	}, exposures(declaredBy(t, file)))
}

// TestTheGracePeriodCoversTheDrain: what a service may take to stop, by its own
// defaults, fits into what Compose gives it before SIGKILL.
func TestTheGracePeriodCoversTheDrain(t *testing.T) {
	usual := longestStop(t, nil)
	require.Greater(t, usual, 10*time.Second, "Compose's default would do, and this test shows nothing")
	generations := longestStop(t, llmgateway.Definition.Defaults)
	require.Greater(t, generations, 5*time.Minute, "it finishes what models have begun to write")
	d := declaredBy(t, "docker-compose.yml")
	for name, longest := range map[string]time.Duration{
		"orders": usual, "payments": usual, "sandbox": usual, "front": usual, "llm-gateway": generations,
	} {
		for _, part := range partsOfAStop {
			require.NotContains(t, d.Services[name].Environment, part, "it has its default in %s", name)
		}
		grace, err := time.ParseDuration(d.Services[name].Grace)
		require.NoError(t, err, name)
		require.GreaterOrEqual(t, grace, longest, name)
	}
}

// partsOfAStop are the settings that bound its steps.
var partsOfAStop = []string{
	"HOLDFAST_LAME_DUCK", "HOLDFAST_DRAIN_CAP", "HOLDFAST_STOP_WORKERS", "HOLDFAST_CLOSE_POOL", "HOLDFAST_FLUSH_TELEMETRY",
}

// longestStop adds up what a service may take to stop that has these defaults of its
// own.
func longestStop(t *testing.T, own map[string]string) time.Duration {
	t.Helper()
	const margin = 6 * time.Second
	longest, parts := margin, 0
	for _, v := range config.Describe(service.Config{}) {
		if !slices.Contains(partsOfAStop, v.Name) {
			continue
		}
		took, err := time.ParseDuration(cmp.Or(own[v.Name], v.Default))
		require.NoError(t, err, v.Name)
		longest += took
		parts++
	}
	require.Len(t, partsOfAStop, parts, "parts of a stop that nobody declares")
	return longest
}
