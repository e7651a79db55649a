package auth

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// ActAs returns a context whose outgoing calls are made for a tenant. Servers
// honour it for services only.
func ActAs(ctx context.Context, tenant string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, MetadataActAs, tenant)
}

// PerRPC shows a token with every call. It does not ask for TLS: inside a
// cluster that is the mesh's or the network's work.
func PerRPC(token string) credentials.PerRPCCredentials { return perRPC{token} }

type perRPC struct{ token string }

// GetRequestMetadata returns the credential.
func (p perRPC) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + p.token}, nil
}

// RequireTransportSecurity says no.
func (perRPC) RequireTransportSecurity() bool { return false }
