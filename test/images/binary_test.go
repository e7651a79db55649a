//go:build docker

package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// confined are the flags under which every image must run.
var confined = []string{"run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges"}

func TestAnImageSaysWhatItWasBuiltFrom(t *testing.T) {
	built(t, buildSource, buildPrebuilt)
	for name := range names {
		for _, image := range []string{source(name), prebuilt(name)} {
			said := mustDocker(t, append(confined, image, "version")...)
			require.Regexp(t, `^`+name+` `+version+` \(`+commit+`, go1\.`, said)
		}
	}
}

// TestTwoBuildsOfOneCommitAreTheSame: one in a container and one on this
// machine, which have neither a path nor a cache in common.
func TestTwoBuildsOfOneCommitAreTheSame(t *testing.T) {
	built(t, buildSource, buildPrebuilt)
	for name, binary := range names {
		require.Equal(t, sumIn(t, source(name), binary), sumIn(t, prebuilt(name), binary), name)
	}
}

// TestWithoutTrimpathTwoBuildsDiffer is the control: the same flags but for the
// one that keeps the path of the checkout out.
func TestWithoutTrimpathTwoBuildsDiffer(t *testing.T) {
	built(t, buildSource)
	compile := func(flags ...string) string {
		output := filepath.Join(t.TempDir(), "sandbox")
		const of = "github.com/holdfast-dev/holdfast/"
		ldflags := "-s -w"
		for _, p := range []string{"pkg/service", "services/sandbox"} {
			ldflags += " -X " + of + p + ".Version=" + version + " -X " + of + p + ".Commit=" + commit
		}
		args := append([]string{"build", "-buildvcs=false", "-ldflags", ldflags, "-o", output}, flags...)
		command := exec.Command("go", append(args, "./services/sandbox/cmd/sandbox")...)
		command.Dir = "../.."
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		said, err := command.CombinedOutput()
		require.NoError(t, err, "%s", said)
		binary, err := os.ReadFile(output)
		require.NoError(t, err)
		return sum(t, bytes.NewReader(binary))
	}
	require.NotEqual(t, compile("-trimpath"), compile())
	require.NotEqual(t, sumIn(t, source("sandbox"), "/service"), compile())
}

// sumIn is the SHA-256 of a file in an image.
func sumIn(t *testing.T, image, file string) (digest string) {
	t.Helper()
	container := mustDocker(t, "create", image)
	defer mustDocker(t, "rm", container)
	read(t, func(r io.Reader) error {
		archive := tar.NewReader(r)
		if _, err := archive.Next(); err != nil {
			return err
		}
		digest = sum(t, archive)
		return nil
	}, "cp", container+":"+file, "-")
	return digest
}

func sum(t *testing.T, r io.Reader) string {
	t.Helper()
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	require.NoError(t, err)
	require.Greater(t, n, int64(1<<20), "that is no binary")
	return hex.EncodeToString(hash.Sum(nil))
}
