package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/postgres"

	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
	"github.com/holdfast-dev/holdfast/pkg/postgres/internal/watchdog"
)

const (
	// image is the version that production runs.
	image = "postgres:17-alpine"
	// pullBound keeps a blocked registry from holding up the tests.
	pullBound = 45 * time.Second
	// pullAgainAfter is how long a failed pull is remembered, so that it costs
	// its time once in a run and not in every test binary.
	pullAgainAfter = 15 * time.Minute
)

// startContainer returns the URL of a Postgres container that ends with this
// process, or the reason why there can be none.
func startContainer(ctx context.Context) (url string, err error) {
	// testcontainers panics where it finds no Docker.
	defer func() {
		if p := recover(); p != nil {
			url, err = "", errors.New("docker does not answer")
		}
	}()
	log.SetDefault(quiet{})
	if err := imagesReady(ctx); err != nil {
		return "", err
	}
	options := []testcontainers.ContainerCustomizer{
		postgres.WithUsername(embedded.Superuser),
		postgres.WithPassword(rand.Text()),
		postgres.WithDatabase("postgres"),
		postgres.BasicWaitStrategies(),
		testcontainers.WithCmd(command(forSpeed)...),
	}
	container, err := postgres.Run(ctx, image, options...)
	if err != nil {
		return "", fmt.Errorf("starting %s: %w", image, err)
	}
	if err := removeAtEnd(ctx, container.GetContainerID()); err != nil {
		_ = container.Terminate(ctx)
		return "", err
	}
	return container.ConnectionString(ctx, "sslmode=disable")
}

// imagesReady makes sure that what a container needs is there or can be
// pulled: the image, and that of the reaper which removes containers.
func imagesReady(ctx context.Context) error {
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return errors.New("docker does not answer")
	}
	defer func() { _ = provider.Close() }()
	answer, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if provider.Health(answer) != nil {
		return errors.New("docker does not answer")
	}
	needed := []string{image}
	if !testcontainers.ReadConfig().RyukDisabled {
		needed = append(needed, testcontainers.ReaperDefaultImage) //nolint:staticcheck // deprecated without another way to ask
	}
	for _, name := range needed {
		if _, err := provider.Client().ImageInspect(ctx, name); err == nil {
			continue
		}
		if err := pull(ctx, provider, name); err != nil {
			return err
		}
	}
	return nil
}

func pull(ctx context.Context, provider *testcontainers.DockerProvider, name string) error {
	cache, err := cacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache: %w", err)
	}
	failed := filepath.Join(cache, "pull-failed")
	if info, err := os.Stat(failed); err == nil && time.Since(info.ModTime()) < pullAgainAfter {
		return fmt.Errorf("pulling images failed at %s; remove %s to try again", info.ModTime().Format(time.TimeOnly), failed)
	}
	ctx, cancel := context.WithTimeout(ctx, pullBound)
	defer cancel()
	if err := provider.PullImage(ctx, name); err != nil {
		// Remembering is a comfort.
		_ = os.MkdirAll(cache, 0o700)
		_ = os.WriteFile(failed, []byte(err.Error()), 0o600)
		return fmt.Errorf("%s cannot be pulled", name)
	}
	return nil
}

// removeAtEnd removes the container with this process where the reaper, whose
// work it is, has been turned off.
func removeAtEnd(ctx context.Context, id string) error {
	if !testcontainers.ReadConfig().RyukDisabled {
		return nil
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("the reaper is turned off and there is no docker command to remove the container with")
	}
	_, err := watchdog.Start(ctx, nil, `docker rm --force --volumes "$1" >/dev/null 2>&1`, id)
	return err
}

func command(settings map[string]string) []string {
	args := []string{"postgres"}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// quiet drops the log of testcontainers: one line says which server was taken.
type quiet struct{}

// Printf drops the message.
func (quiet) Printf(string, ...any) {}
