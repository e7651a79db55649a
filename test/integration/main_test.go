// Package integration runs orders, payments and the sandbox together, as
// processes on loopback, and holds the whole to what its parts promise.
package integration

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/services/orders"
	"github.com/holdfast-dev/holdfast/services/payments"
	"github.com/holdfast-dev/holdfast/services/sandbox"
)

// serviceVariable turns this test binary into one of the services: real
// processes, which can be killed, without building anything else.
const serviceVariable = "HOLDFAST_INTEGRATION_SERVICE"

func TestMain(m *testing.M) {
	name := os.Getenv(serviceVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := runService(name, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func runService(name string, args []string) error {
	switch name {
	case "orders":
		return service.Run(context.Background(), orders.Definition, args, os.Stdout, withoutKeys()...)
	case "payments":
		return service.Run(context.Background(), payments.Definition, args, os.Stdout, withoutKeys()...)
	case "sandbox":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return sandbox.Run(ctx, args, os.Stdout, os.Stderr)
	default:
		return fmt.Errorf("there is no service %q", name)
	}
}
