package drill_test

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-dev/holdfast/test/drill"
)

func TestAServiceFindsTheReplicasThatAreReady(t *testing.T) {
	drill.RegisterResolver()
	replica := startReplica(t, "a")
	replica.listener.Close() // gRPC listens in its place
	listener, err := net.Listen("tcp", replica.GRPC)
	require.NoError(t, err)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-served })

	endpoints, _ := balance(t, replica)
	names := httptest.NewServer(endpoints)
	t.Cleanup(names.Close)

	conn, err := grpc.NewClient(drill.Scheme+":///"+strings.TrimPrefix(names.URL, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	require.NoError(t, err)
}
