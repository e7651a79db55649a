//go:build !faults

package faults

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Injector does nothing in this build.
type Injector struct{}

// New returns an injector that injects nothing.
func New(config.Environment, *slog.Logger, *health.Health) *Injector { return &Injector{} }

// Serves needs to know nothing.
func (*Injector) Serves([]policy.Method) {}

// UnaryServerInterceptors returns none.
func (*Injector) UnaryServerInterceptors() []grpc.UnaryServerInterceptor { return nil }

// StreamServerInterceptors returns none.
func (*Injector) StreamServerInterceptors() []grpc.StreamServerInterceptor { return nil }

// Listener returns the listener as it is.
func (*Injector) Listener(listener net.Listener) net.Listener { return listener }

// Gateway returns no options.
func (*Injector) Gateway() []runtime.ServeMuxOption { return nil }

// Route answers /faults with 404 and why.
func (*Injector) Route(mux *http.ServeMux) {
	mux.HandleFunc("/faults", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this binary is built without fault injection: the build tag `faults` adds it", http.StatusNotFound)
	})
}
