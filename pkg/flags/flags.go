package flags

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"
)

// Flags are the flags of one service.
type Flags struct {
	api    *openfeature.EvaluationAPI
	client *openfeature.Client
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
	api := isolated.NewAPI()
	if err := api.SetProviderAndWait(ctx, provider{openFile(cfg.File, definitions, log)}); err != nil {
		return nil, fmt.Errorf("starting OpenFeature: %w", err)
	}
	return &Flags{api: api, client: api.NewClient()}, nil
}

// On reports whether a tenant has a flag. A flag that cannot be asked for is
// off.
func (f *Flags) On(ctx context.Context, flag Flag, tenant string) bool {
	return f.client.Boolean(ctx, string(flag), false, openfeature.NewEvaluationContext(tenant, nil))
}

// Close ends what New has started.
func (f *Flags) Close(ctx context.Context) error { return f.api.Shutdown(ctx) }
