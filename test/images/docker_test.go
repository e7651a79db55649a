//go:build docker

package images

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the images under test are built from, on paper. Their names are their
// own: what `make images` built stays as it is.
const (
	version = "v0.0.0-test"
	commit  = "0123456789ab"
	prefix  = "holdfast-test/"
)

// names are the images, and the path of the binary in each.
var names = map[string]string{
	"orders": "/service", "payments": "/service", "llm-gateway": "/service", "sandbox": "/service", "holdfast": "/holdfast",
}

// source is the image as anybody builds it, with Docker alone.
func source(name string) string { return prefix + name + ":" + version }

// prebuilt is the image around a binary that this machine compiled.
func prebuilt(name string) string { return prefix + "prebuilt-" + name + ":" + version }

// shellForm is the sandbox behind a shell: what the ENTRYPOINT is not.
const shellForm = prefix + "shell-form:" + version

var buildSource = sync.OnceValue(func() error {
	return build("TARGET=source", "PREFIX="+prefix)
})

// buildPrebuilt compiles with the toolchain that the container compiled with:
// another one makes other binaries.
var buildPrebuilt = sync.OnceValue(func() error {
	said, err := docker("run", "--rm", source("sandbox"), "version")
	if err != nil {
		return err
	}
	_, toolchain, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(said), ")"), ", ")
	return build("TARGET=prebuilt", "PREFIX="+prefix+"prebuilt-", "GOTOOLCHAIN="+toolchain)
})

var buildShellForm = sync.OnceValue(func() error {
	dockerfile := fmt.Sprintf(`
FROM debian:bookworm-slim
COPY --from=%s /service /service
ENV HOLDFAST_SANDBOX_DATA_DIR=/tmp
ENTRYPOINT /service || exit 1
`, source("sandbox"))
	command := exec.Command("docker", "buildx", "build", "--load", "--quiet", "--tag", shellForm, "-")
	command.Stdin = strings.NewReader(dockerfile)
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the shell form: %w: %s", err, output)
	}
	return nil
})

// build runs tools/images, as `make images` does.
func build(environment ...string) error {
	command := exec.Command("tools/images")
	command.Dir = "../.."
	command.Env = append(os.Environ(), append(environment, "IMAGES=sandbox orders payments llm-gateway holdfast", "VERSION="+version, "COMMIT="+commit)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("tools/images %s: %w: %s", environment, err, output)
	}
	fmt.Printf("%s", output)
	return nil
}

// built fails the test if a build did.
func built(t *testing.T, builds ...func() error) {
	t.Helper()
	for _, build := range builds {
		require.NoError(t, build())
	}
}

// docker runs the command-line tool and returns what it printed.
func docker(args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.Command("docker", args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// mustDocker is docker where a failure is the test's.
func mustDocker(t *testing.T, args ...string) string {
	t.Helper()
	output, err := docker(args...)
	require.NoError(t, err)
	return strings.TrimSpace(output)
}

func TestMain(m *testing.M) {
	code := m.Run()
	// What was not built is not there to remove.
	for name := range names {
		_, _ = docker("image", "rm", "--force", source(name), prebuilt(name))
	}
	_, _ = docker("image", "rm", "--force", shellForm)
	os.Exit(code)
}
