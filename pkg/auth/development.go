package auth

// The keys that work in development, and nowhere else. They are public, so a
// production process refuses to start with any of them in its configuration.
const (
	// DevelopmentKey belongs to the tenant "acme".
	DevelopmentKey = "hf_devacme_holdfast-development-key"
	// DevelopmentKeyOther belongs to the tenant "globex": for seeing that
	// tenants do not see each other.
	DevelopmentKeyOther = "hf_devglobex_holdfast-development-key"
	// DevelopmentOperatorKey is of whoever runs the platform: it sees the books of
	// all tenants and may place no order.
	DevelopmentOperatorKey = "hf_devoperator_holdfast-development-key"
	// DevelopmentServiceKey is what services show each other.
	DevelopmentServiceKey = "hf_devservice_holdfast-development-key"
)

const developmentSecret = "holdfast-development-key"

var userScopes = []string{"orders.read", "orders.write", "payments.read", "payments.write", "llm.read", "llm.generate"}

func developmentKeys() []StoredKey {
	hash := hashOf(developmentSecret)
	return []StoredKey{
		{ID: "devacme", Hash: hash, Tenant: "acme", Scopes: userScopes},
		{ID: "devglobex", Hash: hash, Tenant: "globex", Scopes: userScopes},
		{ID: "devoperator", Hash: hash, Tenant: "operations", Scopes: []string{"payments.reconcile"}},
		{ID: "devservice", Hash: hash, Service: true, Scopes: append([]string{ScopeActAs}, userScopes...)},
	}
}

// isDevelopment says whether a stored key is one that everybody knows.
// Hex has two spellings, so the bytes are compared.
func isDevelopment(e entry) bool { return e.matches(developmentSecret) }

func isDevelopmentToken(token string) bool {
	_, secret, ok := splitToken(token)
	return ok && secret == developmentSecret
}
