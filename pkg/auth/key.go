package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// StoredKey is what is kept of an API key: everything but the secret.
type StoredKey struct {
	// ID is the public part.
	ID string `yaml:"id"`
	// Hash is the SHA-256 of the secret, in hex. The secret has 256 random bits,
	// so a fast hash is enough: there is nothing to guess.
	Hash string `yaml:"hash"`
	// Tenant owns the key; empty for a service's key, which names the tenant
	// call by call.
	Tenant string `yaml:"tenant,omitempty"`
	// Scopes are what it allows.
	Scopes []string `yaml:"scopes"`
	// Service marks the key of a service of the platform.
	Service bool `yaml:"service,omitempty"`
}

const tokenPrefix = "hf_"

var idPattern = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// NewKey makes an API key. The token is shown once; the stored key goes into
// the key file.
func NewKey(tenant string, scopes []string, service bool) (token string, stored StoredKey) {
	// Read never fails: the program ends where the system has no randomness.
	var random [40]byte
	_, _ = rand.Read(random[:])
	id, secret := hex.EncodeToString(random[:8]), hex.EncodeToString(random[8:])
	return tokenPrefix + id + "_" + secret, StoredKey{
		ID: id, Hash: hashOf(secret), Tenant: tenant, Scopes: scopes, Service: service,
	}
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// splitToken takes a token apart without looking at the secret.
func splitToken(token string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > 256 {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	return id, secret, ok && id != "" && secret != ""
}

// entry is a stored key made ready.
type entry struct {
	hash      [sha256.Size]byte
	principal Principal
}

func (e entry) matches(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], e.hash[:]) == 1
}

// ready checks a stored key.
func (k StoredKey) ready() (entry, error) {
	hash, err := hex.DecodeString(k.Hash)
	var problems []error
	if !idPattern.MatchString(k.ID) {
		problems = append(problems, errors.New("id must be 1 to 32 lower-case letters and digits"))
	}
	if err != nil || len(hash) != sha256.Size {
		problems = append(problems, errors.New("hash must be a SHA-256 in hex"))
	}
	if k.Service == (k.Tenant != "") {
		problems = append(problems, errors.New("a key belongs to a tenant, or to a service"))
	}
	if k.Tenant != "" && !tenantPattern.MatchString(k.Tenant) {
		problems = append(problems, errors.New("tenant must be 1 to 63 lower-case letters, digits and dashes"))
	}
	if len(k.Scopes) == 0 {
		problems = append(problems, errors.New("it has no scopes, so it allows nothing"))
	}
	if err := errors.Join(problems...); err != nil {
		return entry{}, fmt.Errorf("key %q: %w", k.ID, err)
	}
	return entry{
		hash:      [sha256.Size]byte(hash),
		principal: Principal{KeyID: k.ID, Tenant: k.Tenant, Scopes: k.Scopes, Service: k.Service},
	}, nil
}
