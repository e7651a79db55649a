package load

import (
	"context"
	"fmt"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// GRPC sends an RPC as unary gRPC.
type GRPC struct {
	target      string
	method      string
	metadata    metadata.MD
	connections Connections
	pool        []*grpc.ClientConn
	next        atomic.Uint64
}

// NewGRPC returns a sender of method (such as "/holdfast.orders.v1.OrdersService/CreateOrder")
// to target, an address, that adds md to every call. Reused connections are n,
// used in turn.
func NewGRPC(target, method string, md metadata.MD, connections Connections, n int) (*GRPC, error) {
	g := &GRPC{target: "passthrough:///" + target, method: method, metadata: md, connections: connections}
	if connections == New {
		return g, nil
	}
	for range n {
		conn, err := g.dial()
		if err != nil {
			g.Close()
			return nil, err
		}
		g.pool = append(g.pool, conn)
	}
	return g, nil
}

func (g *GRPC) dial() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(g.target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithStatsHandler(countTransparent{}),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", g.target, err)
	}
	return conn, nil
}

// Name says how it sends.
func (g *GRPC) Name() string { return "gRPC, " + g.connections.String() }

// Close closes every connection.
func (g *GRPC) Close() {
	for _, conn := range g.pool {
		conn.Close()
	}
}

// connection returns the connection of one request. Release it afterwards.
func (g *GRPC) connection() (conn *grpc.ClientConn, release func(), err error) {
	if g.connections == Reused {
		return g.pool[g.next.Add(1)%uint64(len(g.pool))], func() {}, nil
	}
	conn, err = g.dial()
	return conn, func() { _ = conn.Close() }, err
}

// Send performs one attempt.
func (g *GRPC) Send(ctx context.Context, key string, message proto.Message) Exchange {
	request, err := proto.Marshal(message)
	if err != nil {
		return Exchange{Err: fmt.Errorf("encode request: %w", err)}
	}
	conn, release, err := g.connection()
	if err != nil {
		return Exchange{Err: err}
	}
	defer release()
	md := g.metadata.Copy()
	if key != "" {
		md.Set("idempotency-key", key)
	}
	var transparent atomic.Int64
	ctx = context.WithValue(metadata.NewOutgoingContext(ctx, md), transparentKey{}, &transparent)

	var answer []byte
	var trailer metadata.MD
	err = conn.Invoke(ctx, g.method, request, &answer, grpc.ForceCodecV2(rawCodec{}), grpc.Trailer(&trailer))
	exchange := Exchange{
		OK:                 err == nil,
		Code:               "grpc " + codeName(status.Code(err)),
		Body:               answer,
		TransparentRetries: int(transparent.Load()),
	}
	if marks := trailer.Get("idempotent-replayed"); len(marks) > 0 {
		exchange.Replayed = marks[0] == "true"
	}
	if versions := trailer.Get("holdfast-version"); len(versions) > 0 {
		exchange.Version = versions[0]
	}
	if err != nil {
		exchange.readStatus(err)
	}
	return exchange
}

// readStatus tells a server's answer from gRPC's own words for a transport that
// failed: only a server adds details.
func (e *Exchange) readStatus(err error) {
	st := status.Convert(err)
	e.Detail = st.Message()
	details := st.Details()
	for _, detail := range details {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, e.Retry = d.GetReason(), d.GetMetadata()["retry"]
			e.ResumeToken = d.GetMetadata()["resume_token"]
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	if len(details) > 0 {
		return
	}
	switch st.Code() {
	case codes.Unavailable:
		e.Err = err
	case codes.DeadlineExceeded:
		e.Err = fmt.Errorf("%w: %s", context.DeadlineExceeded, st.Message())
	}
}

// codeName is the code as the gRPC specification writes it.
func codeName(c codes.Code) string {
	names := [...]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return c.String()
}

// rawCodec leaves bytes as they are, so that an answer can be compared with the
// bytes of another one: decoding and encoding again would hide a difference.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

// Name is that of the codec whose place it takes.
func (rawCodec) Name() string { return "proto" }

// Marshal takes bytes.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	raw, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("raw codec: cannot send %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
}

// Unmarshal gives bytes.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	raw, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("raw codec: cannot receive into %T", v)
	}
	*raw = data.Materialize()
	return nil
}

type transparentKey struct{}

// countTransparent counts the attempts that gRPC makes by itself because the
// server has not processed the first, in the counter that the context brings.
type countTransparent struct{}

var _ stats.Handler = countTransparent{}

// TagRPC implements stats.Handler.
func (countTransparent) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC counts.
func (countTransparent) HandleRPC(ctx context.Context, s stats.RPCStats) {
	begin, ok := s.(*stats.Begin)
	if !ok || !begin.IsTransparentRetryAttempt {
		return
	}
	if n, ok := ctx.Value(transparentKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}

// TagConn implements stats.Handler.
func (countTransparent) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

// HandleConn implements stats.Handler.
func (countTransparent) HandleConn(context.Context, stats.ConnStats) {}
