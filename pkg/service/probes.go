package service

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-dev/holdfast/pkg/health"
)

// probeHandler answers the probe port: probes, and metrics for a scrape.
func probeHandler(h *health.Health, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h.Handler())
	mux.Handle("GET /metrics", metrics)
	return mux
}

// heartInterval is how often the process asks itself whether it still answers.
const heartInterval = 5 * time.Second

// heart keeps the process's liveness: as long as a call through its own gRPC
// server comes back, the process is not stuck. It asks nothing outside.
func heart(ctx context.Context, conn *grpc.ClientConn, beat func()) {
	client := healthpb.NewHealthClient(conn)
	tick := time.NewTicker(heartInterval)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, heartInterval)
		if _, err := client.Check(asking, &healthpb.HealthCheckRequest{}); err == nil {
			beat()
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
