package routes

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Defaults of keys.
const (
	defaultKeyConcurrent = 64
	defaultKeyQueued     = 128
)

// candidate is a provider as the file has it, which may not come to be one.
type candidate struct {
	*Provider
	optional bool
	wrong    bool            // something about it is a mistake: routes are not blamed
	dropped  string          // why it is not in force; "" if it is
	named    map[string]bool // its keys, whether they have a secret or not
}

func (p *parser) readProviders(node *yaml.Node) {
	p.doc.Entries(node, "providers", func(key, value *yaml.Node) {
		name := p.name(key, "the name of a provider")
		if name == "" {
			return
		}
		before := p.doc.Mistakes()
		c := p.readProvider(name, key.Line, value)
		c.wrong = p.doc.Mistakes() > before
		p.providers[name] = c
		switch {
		case c.wrong:
		case c.dropped != "":
			p.drop(c.Line, "provider "+quote(name), c.dropped)
		default:
			p.table.Providers[name] = c.Provider
		}
	})
}

func (p *parser) readProvider(name string, line int, node *yaml.Node) *candidate {
	c := &candidate{Provider: &Provider{Name: name, Line: line}, named: map[string]bool{}}
	what := "provider " + quote(name)
	var base, lookup, field *yaml.Node
	var absent []string
	p.doc.Fields(node, what, map[string]document.Field{
		"protocol":         {Read: func(n *yaml.Node) { c.Protocol = p.protocol(n, what) }, Required: true},
		"base_url":         {Read: func(n *yaml.Node) { base = n }, Required: true},
		"keys":             {Read: func(n *yaml.Node) { absent = p.readKeys(n, c, what) }, Required: true},
		"optional":         {Read: func(n *yaml.Node) { c.optional = p.doc.Bool(n, what+": optional") }},
		"max_tokens_field": {Read: func(n *yaml.Node) { field = n }},
		"headers":          {Read: func(n *yaml.Node) { c.Headers = p.headers(n, what) }},
		"lookup_url":       {Read: func(n *yaml.Node) { lookup = n }},
		"max_concurrent": {Read: func(n *yaml.Node) {
			value, _ := p.doc.Whole(n, what+": max_concurrent", 1, 100_000)
			c.MaxConcurrent = int(value)
		}},
	})
	if base != nil {
		c.BaseURL = p.baseURL(base, c, what)
	}
	if lookup != nil {
		c.Lookup = p.url(lookup, c, what+": lookup_url")
		if c.Lookup != "" && !strings.Contains(c.Lookup, "{id}") {
			p.doc.Mistakef(lookup.Line, "%s: lookup_url must have {id} where the request's id belongs", what)
		}
	}
	c.MaxTokensField = p.maxTokensField(field, c.Protocol, what)
	if len(c.Keys) == 0 && len(absent) > 0 {
		why := "none of its keys is set: " + strings.Join(absent, ", ")
		if c.optional {
			c.dropped = why
		} else {
			p.doc.Mistakef(line, "%s: %s; set one, or mark it optional", what, why)
		}
	} else {
		for _, source := range absent {
			p.drop(line, "a key of "+what, source+" is not set")
		}
	}
	return c
}

func (p *parser) protocol(node *yaml.Node, what string) wire.Protocol {
	text, ok := p.doc.Text(node, what+": protocol")
	if !ok {
		return 0
	}
	protocol, err := wire.ParseProtocol(text)
	if err != nil {
		p.doc.Mistakef(node.Line, "%s: protocol must be openai or anthropic", what)
	}
	return protocol
}

// maxTokensField is what an OpenAI provider calls the bound of an answer.
// Anthropic's protocol has one name, which every request must have.
func (p *parser) maxTokensField(node *yaml.Node, protocol wire.Protocol, what string) string {
	switch {
	case node == nil && protocol == wire.OpenAI:
		return "max_completion_tokens"
	case node == nil:
		return "max_tokens"
	case protocol == wire.Anthropic:
		p.doc.Mistakef(node.Line, "%s: max_tokens_field is for the openai protocol", what)
		return ""
	}
	text, ok := p.doc.Text(node, what+": max_tokens_field")
	if ok && text != "max_completion_tokens" && text != "max_tokens" {
		p.doc.Mistakef(node.Line, "%s: max_tokens_field must be max_completion_tokens or max_tokens", what)
	}
	return text
}

// baseURL reads where a provider answers. A base URL in the manner of the wrong
// SDK is worth a mistake: all there would be later is 404s.
func (p *parser) baseURL(node *yaml.Node, c *candidate, what string) string {
	base := strings.TrimRight(p.url(node, c, what+": base_url"), "/")
	if c.Protocol == wire.Anthropic && strings.HasSuffix(base, "/v1") {
		p.doc.Mistakef(node.Line, "%s: base_url must end before /v1, which is part of every path of the anthropic protocol", what)
	}
	return base
}

// url reads an address, with the variables that it may name. If one is not set
// the provider is dropped if it may be, and else that is a mistake.
func (p *parser) url(node *yaml.Node, c *candidate, what string) string {
	text, ok := p.doc.Text(node, what)
	if !ok {
		return ""
	}
	text, missing, ok := p.interpolate(node, text, what)
	switch {
	case !ok:
		return ""
	case missing != "" && c.optional:
		c.dropped = missing + " is not set"
		return ""
	case missing != "":
		p.doc.Mistakef(node.Line, "%s: %s is not set", what, missing)
		return ""
	}
	parsed, err := url.Parse(text)
	switch {
	case err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") || !printable(text):
		p.doc.Mistakef(node.Line, "%s must be an http or https URL", what)
	case parsed.User != nil:
		p.doc.Mistakef(node.Line, "%s may not hold a user or password: credentials are keys", what)
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		p.doc.Mistakef(node.Line, "%s may have no query and no fragment", what)
	default:
		return text
	}
	return ""
}

var (
	variable = regexp.MustCompile(`\$\{([^}]*)\}`)
	// interpolated are the variables that an address may name. Any other may hold
	// a secret, and addresses are printed.
	interpolated = regexp.MustCompile(`^HOLDFAST_(SANDBOX_URL|LLM_[A-Z0-9_]+_URL)$`)
)

// interpolate replaces ${NAME}, and returns a variable that is not set, if any.
func (p *parser) interpolate(node *yaml.Node, text, what string) (out, missing string, ok bool) {
	ok = true
	out = variable.ReplaceAllStringFunc(text, func(found string) string {
		name := variable.FindStringSubmatch(found)[1]
		if !interpolated.MatchString(name) {
			p.doc.Mistakef(node.Line, "%s may name ${HOLDFAST_SANDBOX_URL} and ${HOLDFAST_LLM_…_URL}, not ${%s}", what, name)
			ok = false
			return ""
		}
		value := strings.TrimRight(p.env(name), "/")
		if value == "" {
			missing = name
		}
		return value
	})
	if ok && strings.Contains(variable.ReplaceAllString(text, ""), "$") {
		p.doc.Mistakef(node.Line, "%s: a variable is written ${NAME}", what)
		ok = false
	}
	return out, missing, ok
}

// refused are headers that a file may not set: they are credentials, which
// belong into keys, or are ours to say.
var refused = []string{
	"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "Cookie",
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host",
	"Holdfast-Request-Id", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (p *parser) headers(node *yaml.Node, what string) map[string]string {
	headers := map[string]string{}
	p.doc.Entries(node, what+": headers", func(key, value *yaml.Node) {
		name := http.CanonicalHeaderKey(key.Value)
		text, ok := p.doc.Text(value, what+": header "+quote(key.Value))
		switch {
		case !ok:
		case !httpguts.ValidHeaderFieldName(key.Value) || !httpguts.ValidHeaderFieldValue(text):
			p.doc.Mistakef(key.Line, "%s: %s is not a header that HTTP can carry", what, quote(key.Value))
		case slices.Contains(refused, name):
			p.doc.Mistakef(key.Line, "%s: header %s is not for the file to set; credentials are keys", what, name)
		case headers[name] != "":
			p.doc.Mistakef(key.Line, "%s: header %s is there twice", what, name)
		default:
			headers[name] = text
		}
	})
	return headers
}
