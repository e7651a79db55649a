package postgres

import (
	"strings"
)

// WithDatabase returns the connection string with its database set to name,
// whatever database it named before. It takes both forms that libpq knows: a
// URL, also one with several hosts, and "host=… user=…".
func WithDatabase(url, name string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		// In the keyword form the last setting wins.
		return strings.TrimSpace(url) + " dbname=" + name
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	out := scheme + "://" + authority + "/" + name
	if hasQuery {
		out += "?" + query
	}
	return out
}

// namesDatabase reports whether the connection string says which database it
// means.
func namesDatabase(url string) bool {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		return strings.Contains(url, "dbname=")
	}
	rest, query, _ := strings.Cut(rest, "?")
	_, path, _ := strings.Cut(rest, "/")
	return path != "" || strings.Contains(query, "dbname=")
}
