package service

import (
	"context"
	"net/http"
	"net/netip"

	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
)

// way is how calls come to a gRPC server.
type way int

const (
	// overNetwork: from clients, on the public port.
	overNetwork way = iota
	// throughGateway: from the HTTP edge, within the process.
	throughGateway
)

// gate is the limits for calls that come in by way. Only the server that the
// gateway calls believes what the edge says of the client: nobody but the edge
// can reach that one, and on the public port anybody could say anything.
func (c chain) gate(by way) ratelimit.Gate {
	source := c.limits.Peer
	if by == throughGateway {
		source = clientOf
	}
	return c.limits.Gate(source, c.policies)
}

// clientMetadata carries the address of an HTTP client from the edge to the
// gateway's server. No request header becomes it: see incoming.
const clientMetadata = "holdfast-client-address"

type clientKey struct{}

// withClient returns a context with the address of the HTTP client.
func withClient(ctx context.Context, client netip.Addr) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// tellClient is what the gateway adds to the metadata of every call.
func tellClient(ctx context.Context, _ *http.Request) metadata.MD {
	client, ok := ctx.Value(clientKey{}).(netip.Addr)
	if !ok || !client.IsValid() {
		return nil
	}
	return metadata.MD{clientMetadata: {client.String()}}
}

// clientOf reads what the gateway added; the zero address in calls that the
// process makes itself.
func clientOf(ctx context.Context) netip.Addr {
	values := metadata.ValueFromIncomingContext(ctx, clientMetadata)
	if len(values) == 0 {
		return netip.Addr{}
	}
	client, err := netip.ParseAddr(values[len(values)-1])
	if err != nil {
		return netip.Addr{}
	}
	return client
}

// remoteOf returns the address of the other end of an HTTP connection.
func remoteOf(r *http.Request) netip.Addr {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return remote.Addr()
}
