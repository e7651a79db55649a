package health

import (
	"context"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// GRPC is the health service of
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md over this
// state: "" and each service are as the process, "dependency/<name>" as the
// dependency. Unlike grpc-go's own it ends watches when their server drains,
// which would otherwise hold a graceful stop until it is forced.
func (h *Health) GRPC() healthpb.HealthServer { return server{health: h} }

type server struct {
	healthpb.UnimplementedHealthServer
	health *Health
}

// Check answers for one name.
func (s server) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	serving, known, _ := s.health.status(r.GetService())
	if !known {
		return nil, status.Error(codes.NotFound, "there is no service of this name")
	}
	return &healthpb.HealthCheckResponse{Status: serving}, nil
}

// List answers for all names.
func (s server) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	all := map[string]*healthpb.HealthCheckResponse{}
	for _, name := range s.health.names() {
		serving, _, _ := s.health.status(name)
		all[name] = &healthpb.HealthCheckResponse{Status: serving}
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch answers for one name now and at every change, until the client leaves
// or the server drains. A name that is not there yet may come.
func (s server) Watch(r *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	sent := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		serving, _, changed := s.health.status(r.GetService())
		if serving != sent {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: serving}); err != nil {
				return err
			}
			sent = serving
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-Draining(stream.Context()):
			return status.Error(codes.Unavailable, "the server is draining")
		case <-s.health.closed:
			return status.Error(codes.Unavailable, "the server is stopping")
		}
	}
}

// names lists all names that gRPC health knows.
func (h *Health) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := []string{""}
	for name := range h.services {
		names = append(names, name)
	}
	for name := range h.dependencies {
		names = append(names, "dependency/"+name)
	}
	return names
}
