//go:build faults

package faults

import (
	"regexp"
	"strings"
)

// wellFormed is what a rule's method may look like.
var wellFormed = regexp.MustCompile(`^(\*|/[A-Za-z_][A-Za-z0-9_.]*/(\*|[A-Za-z_][A-Za-z0-9_]*))$`)

// covers reports whether a method can have the rule's fault. Only a stream can
// be cut.
func (r *rule) covers(method string, streaming bool) bool {
	return names(r.Method, method) && (streaming || r.Fault != faultCut)
}

// names reports whether a pattern is a method's: `*`, `/package.Service/*` or
// the full name of the method.
func names(pattern, method string) bool {
	if pattern == "*" {
		return true
	}
	if service, all := strings.CutSuffix(pattern, "*"); all {
		return strings.HasPrefix(method, service)
	}
	return pattern == method
}

// badMethod says what is wrong with a rule's method; nothing if it is empty.
func (known methods) badMethod(r *rule) string {
	if !wellFormed.MatchString(r.Method) {
		return `must be "*", "/package.Service/*" or "/package.Service/Method"`
	}
	if strings.HasPrefix(r.Method, ofTransport) {
		return "health and reflection never have faults"
	}
	named := false
	for method, streaming := range known {
		if r.covers(method, streaming) {
			return ""
		}
		named = named || names(r.Method, method)
	}
	if named {
		return "names no stream, and only a stream can be cut"
	}
	return "names no method that this service has"
}
