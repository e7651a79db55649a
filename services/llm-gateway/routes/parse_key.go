package routes

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// readKeys adds the keys that have a secret, and returns where the secrets of
// the others were looked for.
func (p *parser) readKeys(node *yaml.Node, c *candidate, what string) (absent []string) {
	count := 0
	p.doc.Items(node, what+": keys", func(item *yaml.Node) {
		count++
		key := Key{MaxConcurrent: defaultKeyConcurrent, MaxQueued: defaultKeyQueued}
		var source string
		present := false
		of := what + ": a key"
		ok := p.doc.Fields(item, of, map[string]document.Field{
			"name":                {Read: func(n *yaml.Node) { key.Name = p.name(n, of+"'s name") }, Required: true},
			"secret":              {Read: func(n *yaml.Node) { key.Secret, source, present = p.secret(n, of) }, Required: true},
			"requests_per_minute": {Read: p.whole64(&key.RequestsPerMinute, of+": requests_per_minute", 1, math.MaxInt32)},
			"tokens_per_minute":   {Read: p.whole64(&key.TokensPerMinute, of+": tokens_per_minute", 1, maxTokensPerMinute)},
			"max_concurrent":      {Read: p.whole(&key.MaxConcurrent, of+": max_concurrent", 1, 100_000)},
			"max_queued":          {Read: p.whole(&key.MaxQueued, of+": max_queued", 0, 100_000)},
		})
		if !ok || key.Name == "" {
			return
		}
		if c.named[key.Name] {
			p.doc.Mistakef(item.Line, "%s has two keys named %s", what, quote(key.Name))
			return
		}
		c.named[key.Name] = true
		switch {
		case present:
			c.Keys = append(c.Keys, key)
		case source != "":
			absent = append(absent, source)
		}
	})
	if count == 0 && node.Kind == yaml.SequenceNode {
		p.doc.Mistakef(node.Line, "%s has no keys", what)
	}
	return absent
}

// maxTokensPerMinute is more than anybody is allowed, and keeps sums in range.
const maxTokensPerMinute = 1_000_000_000_000

var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secret reads where a key's secret is, and what it is there. Absent is not
// wrong: whoever has a key for one provider need not have one for the next.
//
// Mistakes here never repeat the text: it may be the secret itself.
func (p *parser) secret(node *yaml.Node, what string) (_ Secret, source string, present bool) {
	text, ok := p.doc.Text(node, what+"'s secret")
	if !ok {
		return Secret{}, "", false
	}
	kind, rest, _ := strings.Cut(text, ":")
	var found string
	switch {
	case kind == "env" && environmentName.MatchString(rest):
		found = p.env(rest)
	case kind == "file" && filepath.IsAbs(rest) && !strings.ContainsRune(rest, 0):
		p.table.secrets = append(p.table.secrets, rest)
		content, err := p.readFile(rest)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.doc.Mistakef(node.Line, "%s's secret: %v", what, err)
			return Secret{}, "", false
		}
		found = string(content)
	case kind == "sandbox" && namePattern.MatchString(rest):
		// The sandbox takes every key of this form, and nobody else takes any.
		found = "sandbox-" + rest
	default:
		p.doc.Mistakef(node.Line, "%s's secret must be env:NAME, file:/absolute/path or, for the sandbox, sandbox:name; the secret itself does not belong into this file", what)
		return Secret{}, "", false
	}
	found = strings.TrimSpace(found)
	if found == "" {
		return Secret{}, text, false
	}
	if !printable(found) {
		p.doc.Mistakef(node.Line, "%s's secret, %s, has characters that no key has: is it the right one?", what, text)
		return Secret{}, "", false
	}
	return NewSecret(found), text, true
}

// whole reads a whole number into a place.
func (p *parser) whole(into *int, what string, least, most int64) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if value, ok := p.doc.Whole(node, what, least, most); ok {
			*into = int(value)
		}
	}
}

func (p *parser) whole64(into *int64, what string, least, most int64) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if value, ok := p.doc.Whole(node, what, least, most); ok {
			*into = value
		}
	}
}

func quote(text string) string { return strconv.Quote(text) }
