package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	mavenCentral = "https://repo1.maven.org/maven2"
	downloaded   = embeddedpostgres.V17
)

// download fetches the server binaries once into the user's cache.
func download(ctx context.Context, opts Options) (Binaries, error) {
	repository := opts.Repository
	if repository == "" {
		repository = mavenCentral
	}
	cache := opts.CacheDir
	if cache == "" {
		var err error
		if cache, err = cacheDir(); err != nil {
			return Binaries{}, err
		}
	}
	home := filepath.Join(cache, "postgresql-"+string(downloaded))
	bin := filepath.Join(home, "bin")
	if found, err := inspect(ctx, bin); err == nil {
		return found, nil
	}
	url := artifact(repository)
	if err := reachable(ctx, url); err != nil {
		return Binaries{}, blocked(url, err)
	}
	opts.Progress("downloading PostgreSQL " + string(downloaded) + " from " + url)
	if err := fetch(ctx, repository, cache, home); err != nil {
		return Binaries{}, blocked(url, err)
	}
	found, err := inspect(ctx, bin)
	if err != nil {
		return Binaries{}, fmt.Errorf("using the PostgreSQL downloaded from %s: %w; set HOLDFAST_DATABASE_URL", url, err)
	}
	return found, nil
}

// fetch lets the library download, verify and unpack. It has no call for this
// alone: Start does it first, and stops right after at a data directory that
// cannot exist, so that it neither initialises nor starts anything. Its error
// says nothing, then: whether the binaries are there is looked at.
func fetch(ctx context.Context, repository, cache, home string) error {
	config := embeddedpostgres.DefaultConfig().
		Version(downloaded).
		BinaryRepositoryURL(repository).
		CachePath(cache).
		BinariesPath(home).
		RuntimePath(filepath.Join(cache, "runtime")).
		DataPath(filepath.Join(os.DevNull, "none")).
		Port(0).
		Logger(io.Discard)
	result := make(chan error, 1)
	// The library takes no context. Who gives up waiting leaves the rest of
	// the download to the end of the process.
	go func() { result <- embeddedpostgres.NewDatabase(config).Start() }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-result:
		if _, missing := os.Stat(filepath.Join(home, "bin", "postgres")); missing == nil {
			return nil
		}
		return err
	}
}

// reachable asks for the head of url, to fail within seconds and with the
// reason. The library waits for as long as the network does.
func reachable(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return errors.Unwrap(err) // *url.Error would repeat the URL
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func blocked(url string, err error) error {
	return fmt.Errorf("found no PostgreSQL on this machine and could not download %s: %w; install PostgreSQL 15 or later, or set HOLDFAST_DATABASE_URL", url, err)
}

// artifact is the URL that the library downloads from, for messages.
func artifact(repository string) string {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch += "v8"
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		arch += "-alpine"
	}
	name := strings.Join([]string{"embedded-postgres-binaries", runtime.GOOS, arch}, "-")
	return fmt.Sprintf("%s/io/zonky/test/postgres/%s/%s/%s-%s.jar", repository, name, downloaded, name, downloaded)
}

// cacheDir is where downloads go. That of root is outside its home, which the
// account that runs the server could not enter.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/holdfast", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for PostgreSQL's binaries: %w", err)
	}
	return filepath.Join(cache, "holdfast"), nil
}
