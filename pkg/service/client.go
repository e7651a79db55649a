package service

import (
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // the client's side of health checks; without it the service config below does nothing

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
)

// Dial returns a connection to another service, such as "dns:///payments:9090".
// It connects in the background and for as long as it lives.
//
// The dependency says how it is called: deadlines, retries, breaker, bulkhead.
// Token is this service's own credential; auth.ActAs says in whose name it
// calls. Both may be left out. Traces go along, one for each attempt.
func Dial(target string, dependency *resilience.Dependency, token string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	pings, _ := agreed(pingEvery)
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig(balancing)),
		grpc.WithDisableServiceConfig(), // a TXT record must not change how we call
		// One layer retries, and it is pkg/resilience. What gRPC repeats by itself,
		// because no server has seen it, stays.
		grpc.WithDisableRetry(),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A replica that was restarted should be found again within seconds.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(pings),
		// Outermost: all of it is time spent waiting for somebody else.
		grpc.WithChainUnaryInterceptor(shed.UnaryClientInterceptor()),
	}
	if dependency != nil {
		all = append(all,
			grpc.WithChainUnaryInterceptor(dependency.UnaryClientInterceptor()),
			grpc.WithChainStreamInterceptor(dependency.StreamClientInterceptor()))
	}
	if token != "" {
		all = append(all, grpc.WithPerRPCCredentials(auth.PerRPC(token)))
	}
	conn, err := grpc.NewClient(target, append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", target, err)
	}
	return conn, nil
}
