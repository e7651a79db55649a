// Package observability holds what dashboards and alerts look at to what the
// running services really publish. It has tests only.
package observability

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
	"github.com/holdfast-dev/holdfast/services/orders"
	"github.com/holdfast-dev/holdfast/services/payments"
	"github.com/holdfast-dev/holdfast/services/sandbox"
)

// TestMain runs the tests, or is one of the services: `serve NAME` and
// `migrate NAME`, which is how package local starts them.
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || (os.Args[1] != "serve" && os.Args[1] != "migrate") {
		os.Exit(m.Run())
	}
	local.Lifeline()
	if err := runService(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, os.Args[2]+":", err)
		os.Exit(1)
	}
}

func runService(command, name string) error {
	switch name {
	case local.Orders:
		return service.Run(context.Background(), orders.Definition, []string{command}, os.Stdout)
	case local.Payments:
		return service.Run(context.Background(), payments.Definition, []string{command}, os.Stdout)
	case local.LLMGateway:
		return service.Run(context.Background(), llmgateway.Definition, []string{command}, os.Stdout)
	case local.Sandbox:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return sandbox.Run(ctx, []string{command}, os.Stdout, os.Stderr)
	default:
		return fmt.Errorf("there is no service %q", name)
	}
}
