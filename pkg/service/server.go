package service

import (
	"runtime"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// blueprint is what gRPC servers are made from: one at first, another each time
// a drain replaces it, and the one inside for the gateway.
type blueprint struct {
	cfg    Config
	apis   []API
	chain  chain
	by     way
	health healthpb.HealthServer
	stats  stats.Handler
}

// forGateway is the blueprint of the server that the gateway calls.
func (b blueprint) forGateway() blueprint {
	b.by = throughGateway
	return b
}

// buildFor is build for a server whose streams end once and for all.
func (b blueprint) buildFor(ends endings) *grpc.Server {
	return b.build(func() endings { return ends })
}

// build returns a server that is not serving yet. Ends gives the channels that end
// its streams.
func (b blueprint) build(ends func() endings) *grpc.Server {
	_, pings := agreed(pingEvery)
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(decodingCodec{idempotency.Codec(), b.cfg.MaxMessage}),
		grpc.StatsHandler(b.stats),
		grpc.StatsHandler(connections{}),
		grpc.ChainUnaryInterceptor(b.chain.unary(b.by, ends)...),
		grpc.ChainStreamInterceptor(b.chain.stream(b.by, ends)...),
		grpc.UnknownServiceHandler(unknown),
		// GracefulStop and Stop return when the handlers have: what follows
		// them closes what handlers use.
		grpc.WaitForHandlers(true),
		// Goroutines that are used again keep the stack that the chain needs;
		// growing a new one for each call is a good part of what it costs.
		grpc.NumStreamWorkers(uint32(4*runtime.GOMAXPROCS(0))),
		// A message over the limit is answered with a typed error by the codec;
		// one far over it is not even read.
		grpc.MaxRecvMsgSize(4*b.cfg.MaxMessage),
		grpc.MaxHeaderListSize(uint32(b.cfg.MaxHeader)),
		grpc.MaxConcurrentStreams(b.cfg.MaxStreams),
		grpc.ConnectionTimeout(b.cfg.ReadHeaderTimeout), // for the preface: a slow client holds a connection, not longer
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      b.cfg.MaxConnAge,
			MaxConnectionAgeGrace: b.chain.life.grace, // zero: for ever
			MaxConnectionIdle:     15 * time.Minute,
			Time:                  30 * time.Second,
			Timeout:               10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(pings),
	)
	for _, api := range b.apis {
		api.Register(arrivals{s})
	}
	healthpb.RegisterHealthServer(s, b.health)
	if b.cfg.Environment == config.Development {
		reflection.Register(s)
	}
	return s
}
