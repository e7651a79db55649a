//go:build docker

package images

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// largest is what a node may have to pull, in compressed bytes.
const largest = 25_000_000

// TestAnImageIsOneBinaryThatCanDoNothingElse holds every image, however it was
// built, to all there is to know without running it.
func TestAnImageIsOneBinaryThatCanDoNothingElse(t *testing.T) {
	built(t, buildSource, buildPrebuilt)
	for name, binary := range names {
		for _, image := range []string{source(name), prebuilt(name)} {
			require.Empty(t, problems(t, image, binary), image)
		}
	}
}

// TestWhatIsWrongWithAnImageIsSeen is the control: an image as they often are,
// with a distribution in it and a shell in front.
func TestWhatIsWrongWithAnImageIsSeen(t *testing.T) {
	built(t, buildSource, buildShellForm)
	found := strings.Join(problems(t, shellForm, "/service"), "\n")
	for _, problem := range []string{
		"the user is",
		"the ENTRYPOINT is",
		"there is usr/bin/", // of which a shell is the least
		"may be written by anybody",
		"no version",
		"compressed",
	} {
		require.Contains(t, found, problem)
	}
}

// problems are what is wrong with an image.
func problems(t *testing.T, image, binary string) []string {
	t.Helper()
	var found []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	var config struct {
		User            string
		Entrypoint, Cmd []string
		WorkingDir      string
		Labels          map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(mustDocker(t, "image", "inspect", "--format", "{{json .Config}}", image)), &config))
	check(config.User == "65532:65532", "the user is %q", config.User)
	check(slices.Equal(config.Entrypoint, []string{binary}), "the ENTRYPOINT is %q", config.Entrypoint)
	check(len(config.Cmd) == 0, "there is a CMD: %q", config.Cmd)
	check(config.WorkingDir == "/", "it works in %q", config.WorkingDir)
	check(config.Labels["org.opencontainers.image.version"] == version, "no version among the labels: %v", config.Labels)
	check(config.Labels["org.opencontainers.image.revision"] == commit, "no commit among the labels: %v", config.Labels)

	allowed := []string{binary[1:], "etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt"}
	for _, file := range files(t, image) {
		check(file.Mode&0o002 == 0, "%s may be written by anybody", file.Name)
		if file.Typeflag == tar.TypeDir {
			check(file.Uid == 0 || file.Name == "data/", "the folder %s belongs to user %d", file.Name, file.Uid)
			continue
		}
		check(slices.Contains(allowed, file.Name), "there is %s", file.Name)
		check(file.Uid == 0, "%s belongs to user %d", file.Name, file.Uid)
	}
	size := compressedSize(t, image)
	check(size < largest, "it has %d bytes compressed", size)
	return found
}

// files are the headers of all that an image brings, without what Docker puts
// into every container.
func files(t *testing.T, image string) []tar.Header {
	t.Helper()
	of := []string{".dockerenv", "dev/", "proc/", "sys/", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"}
	var found []tar.Header
	container := mustDocker(t, "create", image)
	defer mustDocker(t, "rm", container)
	read(t, func(r io.Reader) error {
		for archive := tar.NewReader(r); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if !slices.ContainsFunc(of, func(name string) bool { return within(header.Name, name) }) {
				found = append(found, *header)
			}
		}
	}, "export", container)
	require.NotEmpty(t, found)
	return found
}

// within says whether a file is the one named, or in the folder named.
func within(file, name string) bool {
	return file == name || (strings.HasSuffix(name, "/") && strings.HasPrefix(path.Clean(file)+"/", name))
}

// compressedSize is what a registry would store and a node would pull.
func compressedSize(t *testing.T, image string) int64 {
	t.Helper()
	var size counter
	read(t, func(r io.Reader) error {
		compressed := gzip.NewWriter(&size)
		if _, err := io.Copy(compressed, r); err != nil {
			return err
		}
		return compressed.Close()
	}, "save", image)
	return int64(size)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// read gives what a docker command prints to a reader, to its end.
func read(t *testing.T, by func(io.Reader) error, args ...string) {
	t.Helper()
	command := exec.Command("docker", args...)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	err = by(output)
	_, drained := io.Copy(io.Discard, output) // the padding of an archive
	require.NoError(t, errors.Join(err, drained, command.Wait()), args)
}
