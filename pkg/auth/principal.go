// Package auth says who calls. Credentials are bearer API keys, stored as
// hashes; each belongs to a tenant and holds scopes. Nothing is open by
// omission: a method that no policy knows is refused, and so is a credential
// without the method's scope.
//
// It does not say what a tenant owns: every query carries the tenant itself.
package auth

import (
	"context"
	"slices"
)

// ScopeActAs lets a service act for any tenant.
const ScopeActAs = "tenant.act_as"

// Principal is who calls.
type Principal struct {
	// KeyID is the public part of the API key; fit for logs.
	KeyID string
	// Tenant is for whom the call is made.
	Tenant string
	// Scopes are what the credential allows.
	Scopes []string
	// Service marks the credential of another service of the platform.
	Service bool
}

// Has says whether the principal holds a scope.
func (p Principal) Has(scope string) bool { return slices.Contains(p.Scopes, scope) }

type contextKey struct{}

// NewContext returns a context that carries the principal.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the principal of a call that was let in.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(Principal)
	return p, ok
}

// Tenant returns for whom the call is made; empty for nobody.
func Tenant(ctx context.Context) string {
	p, _ := FromContext(ctx)
	return p.Tenant
}
