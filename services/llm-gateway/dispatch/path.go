package dispatch

import (
	"strconv"
	"strings"
	"time"
)

// PathHeader is the answer's header that tells which way a request went.
const PathHeader = "Holdfast-Path"

// Try is one station of a request's way: an attempt, or a target passed over.
type Try struct {
	Provider, Model string
	// Key is the name of the key; "" if none was chosen.
	Key string
	// Reason is how it ended.
	Reason Reason
	// Status is what the provider answered with; 0 if it did not.
	Status int
	// Took is how long it took: to the end of an answer, or to the first content
	// of a stream. Zero of a target that was passed over.
	Took time.Duration
}

// FormatPath writes the way for PathHeader, as a list with parameters in the manner of RFC
// 9651:
//
//	anthropic/claude-opus-4;key="a";outcome=overloaded;status=529;ms=210, openai/gpt-5;key="b";outcome=ok;status=200;ms=840
func FormatPath(path []Try) string {
	var b strings.Builder
	for i, t := range path {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(printable(t.Provider))
		b.WriteByte('/')
		b.WriteString(printable(t.Model))
		if t.Key != "" {
			b.WriteString(`;key="`)
			b.WriteString(printable(t.Key))
			b.WriteByte('"')
		}
		b.WriteString(";outcome=")
		b.WriteString(string(t.Reason))
		if t.Status != 0 {
			b.WriteString(";status=")
			b.WriteString(strconv.Itoa(t.Status))
		}
		b.WriteString(";ms=")
		b.WriteString(strconv.FormatInt(t.Took.Milliseconds(), 10))
	}
	return b.String()
}

// printable keeps names of the file from breaking the header.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == '"' || r == ';' || r == ',' || r == '\\' {
			return '_'
		}
		return r
	}, name)
}
