// Package apidocs is the API page of development: one HTML document that reads
// the OpenAPI description and sends requests, with an Idempotency-Key where a
// write needs one. It loads nothing from anywhere else, so it works offline,
// and shows what this build serves.
//
// Production does not have it.
package apidocs

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
)

//go:embed page.html
var page string

//go:embed page.js
var script string

//go:embed page.css
var style string

// Handler answers /openapi.json with the OpenAPI v2 document, and every other
// path with the page. Key is the API key that the page begins with; leave it
// empty where it is a secret.
func Handler(openapi []byte, key string) http.Handler {
	document := []byte(strings.NewReplacer(
		"/*STYLE*/", style,
		"/*SCRIPT*/", script,
		"{{KEY}}", key,
	).Replace(page))
	// Nothing but this script and this style runs, and only this origin is asked.
	policy := "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; script-src 'sha256-" + digest(script) + "'; style-src 'sha256-" + digest(style) + "'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		if strings.HasSuffix(r.URL.Path, "/openapi.json") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(openapi) // whoever asked may be gone
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(document)
	})
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}
