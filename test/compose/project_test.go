//go:build docker

package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// version is the tag of the images under test, so that those a person built are
// left alone. It is that of test/images, whose build is then found in the cache.
const version = "v0.0.0-test"

// environment is what Compose is told beside the machine's own environment.
// No provider is asked that somebody pays.
var environment = []string{
	"VERSION=" + version, "COMMIT=0123456789ab", "OTEL_EXPORTER_OTLP_ENDPOINT=", "OPENAI_API_KEY=", "ANTHROPIC_API_KEY=",
}

// project is the platform, brought up by Compose.
type project struct {
	name  string
	port  string
	files []string // docker-compose.yml, and what is put over it
}

// buildImages builds all of them, so that what a test waits for is not a compiler:
// its own build finds everything in the cache.
var buildImages = sync.OnceValues(func() (time.Duration, error) {
	began := time.Now()
	_, err := (&project{name: "holdfast-test", port: "8080", files: []string{"docker-compose.yml"}}).compose("--progress=plain", "build")
	return time.Since(began), err
})

// up brings a project up as the file says it, healthy, from nothing. It is
// taken down with the test. Overrides are files to put over docker-compose.yml.
func up(t *testing.T, overrides ...string) *project {
	t.Helper()
	took, err := buildImages()
	require.NoError(t, err)
	p := &project{port: freePort(t), files: append([]string{"docker-compose.yml"}, overrides...)}
	p.name = "holdfast-test-" + p.port
	require.Equal(t, [3]int{}, p.left(t), "there is something to begin with")
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := p.compose("logs", "--no-color", "--tail=20") // as much as there is
			t.Log(said)
		}
		_, err := p.compose("down", "--volumes", "--timeout=5")
		require.NoError(t, err)
	})
	began := time.Now()
	p.must(t, "up", "--build", "--wait")
	t.Logf("images built in %s; healthy after %s", took.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	return p
}

// freePort is a port of loopback that nothing uses.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

func (p *project) url() string { return "http://localhost:" + p.port }

// command is docker compose for this project, in the root of the checkout.
func (p *project) command(args ...string) *exec.Cmd {
	all := []string{"compose", "--project-name", p.name}
	for _, file := range p.files {
		all = append(all, "--file", file)
	}
	command := exec.Command("docker", append(all, args...)...)
	command.Dir = "../.."
	command.Env = append(os.Environ(), append(environment, "HOLDFAST_PORT="+p.port)...)
	return command
}

func (p *project) compose(args ...string) (string, error) {
	return run(p.command(args...))
}

// must is compose where a failure is the test's.
func (p *project) must(t *testing.T, args ...string) string {
	t.Helper()
	output, err := p.compose(args...)
	require.NoError(t, err)
	return output
}

// run runs a command and returns what it printed.
func run(command *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// left counts what Docker has of the project: containers, networks, volumes.
func (p *project) left(t *testing.T) (found [3]int) {
	t.Helper()
	for i, list := range [][]string{{"container", "ls", "--all"}, {"network", "ls"}, {"volume", "ls"}} {
		output, err := run(exec.Command("docker", append(list, "--quiet", "--filter=label=com.docker.compose.project="+p.name)...))
		require.NoError(t, err)
		found[i] = len(strings.Fields(output))
	}
	return found
}

// container is what Docker says of one container.
type container struct {
	Name  string
	State struct {
		Status    string
		ExitCode  int
		OOMKilled bool
		StartedAt time.Time
		Health    *struct{ Status string }
	}
	Config struct{ Labels map[string]string }
}

// containers are those of the project by service, also those that have ended.
func (p *project) containers(t *testing.T) map[string]container {
	t.Helper()
	ids := strings.Fields(p.must(t, "ps", "--all", "--quiet"))
	require.NotEmpty(t, ids)
	output, err := run(exec.Command("docker", append([]string{"container", "inspect"}, ids...)...))
	require.NoError(t, err)
	var all []container
	require.NoError(t, json.Unmarshal([]byte(output), &all))
	found := map[string]container{}
	for _, c := range all {
		found[c.Config.Labels["com.docker.compose.service"]] = c
	}
	return found
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, name := range []string{"orders", "payments", "llm-gateway", "sandbox", "holdfast"} {
		_, _ = run(exec.Command("docker", "image", "rm", "--force", "holdfast/"+name+":"+version)) // what was not built is not there
	}
	os.Exit(code)
}
