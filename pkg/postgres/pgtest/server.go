package pgtest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
)

// serverURLVariable names a server that tests may make databases on.
const serverURLVariable = "HOLDFAST_TEST_DATABASE_URL"

// sharedHost is the server of this test binary. It is never stopped here: it
// ends with the process.
var sharedHost = sync.OnceValues(func() (*host, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	url, choice, err := chooseServer(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "pgtest: %s\n", choice)
	shared := newHost(url)
	if err := shared.sweep(ctx); err != nil {
		return nil, fmt.Errorf("dropping what earlier runs left: %w", err)
	}
	return shared, nil
})

// chooseServer returns the URL of a server and one line that says which.
func chooseServer(ctx context.Context) (url, choice string, err error) {
	if url := os.Getenv(serverURLVariable); url != "" {
		return url, "the server of " + serverURLVariable, nil
	}
	url, noDocker := startContainer(ctx)
	if noDocker == nil {
		return url, "a container of " + image, nil
	}
	server, err := embedded.Start(ctx, throwAway(forSpeed))
	if err != nil {
		return "", "", err
	}
	return server.URL(), fmt.Sprintf("PostgreSQL %s of %s (no container: %v)", server.Binaries().Version, server.Binaries().Dir, noDocker), nil
}

// forSpeed are the settings of a shared server. Its data need not survive a
// crash, and everything else behaves the same.
var forSpeed = map[string]string{
	"fsync":            "off",
	"full_page_writes": "off",
	"max_connections":  "300",
}

// throwAway are the options of a server that ends with this process.
func throwAway(settings map[string]string) embedded.Options {
	opts := embedded.Options{
		Ephemeral: true,
		Settings:  map[string]string{"shared_buffers": "64MB", "jit": "off"},
	}
	maps.Copy(opts.Settings, settings)
	if cache, err := cacheDir(); err == nil {
		opts.Seed = cache
	}
	return opts
}

func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "holdfast", "pgtest"), err
}
