package flags

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"
)

// Flags are the flags of one service.
type Flags struct {
	api    *openfeature.EvaluationAPI
	client *openfeature.Client

	unwatch context.CancelFunc
	watcher sync.WaitGroup
}

// New reads the flags that are built in, and over them those of the file that
// cfg names. What is wrong with the first is an error; what is wrong with the
// file is logged, and the service goes on without it. Close them in the end.
func New(ctx context.Context, cfg Config, builtIn []byte, log *slog.Logger) (*Flags, error) {
	definitions, err := Parse(builtIn)
	if err != nil {
		return nil, fmt.Errorf("the flags built in: %w", err)
	}
	// Not OpenFeature's global instance: several services may share a process.
	api, file := isolated.NewAPI(), openFile(cfg.File, definitions, log)
	if err := api.SetProviderAndWait(ctx, provider{file}); err != nil {
		return nil, fmt.Errorf("starting OpenFeature: %w", err)
	}
	f := &Flags{api: api, client: api.NewClient()}
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	f.unwatch = unwatch
	f.watcher.Go(func() { file.watch(watching) })
	return f, nil
}

// On reports whether a tenant has a flag. A flag that cannot be asked for is
// off.
func (f *Flags) On(ctx context.Context, flag Flag, tenant string) bool {
	return f.client.Boolean(ctx, string(flag), false, openfeature.NewEvaluationContext(tenant, nil))
}

// Close ends what New has started.
func (f *Flags) Close(ctx context.Context) error {
	f.unwatch()
	f.watcher.Wait()
	return f.api.Shutdown(ctx)
}
