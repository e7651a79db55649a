package routes

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted is what is said of a secret.
const redacted = "[redacted]"

// Secret is a provider's credential, which no way of printing shows: fmt with
// any verb, JSON, YAML, slog. The methods see to that where they are called.
// Where they are not, because the secret lies in somebody's unexported field,
// fmt prints the address of a function; so does whatever walks a value by
// reflection, such as the differences of a failed test.
type Secret struct{ reveal func() string }

// NewSecret keeps a text.
func NewSecret(text string) Secret { return Secret{reveal: func() string { return text }} }

// Reveal returns the text, for the request that carries it and nothing else.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Equal says whether two secrets are the same text.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns the same for every secret, as do the methods below.
func (Secret) String() string { return redacted }

// GoString is for %#v.
func (Secret) GoString() string { return redacted }

// Format is for every other verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText is for JSON, YAML and XML.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
