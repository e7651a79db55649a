package price

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// Mistake is something that is wrong with the file, and where.
type Mistake = document.Mistake

// Table is a file of prices. It never changes.
type Table struct {
	// Version is the start of the SHA-256 of the file's bytes, in hex.
	Version string

	models map[model][]dated // each from the newest to the oldest
}

// model is what a price is for: the name may be exact, end in -* or be *.
type model struct{ provider, name string }

type dated struct {
	Price
	from time.Time
	line int
}

// Lookup returns what a model of a provider costs at a time. A price for the
// exact name goes before one for the name and its dated versions (gpt-5-* is
// also gpt-5 and gpt-5-2025-08-07, and is not gpt-5-mini), and that before one
// for all models of the provider. Among them the newest counts that holds by
// then; a day begins in UTC.
func (t *Table) Lookup(provider, name string, at time.Time) (Price, bool) {
	for _, pattern := range [...]string{name, undated(name) + "-*", "*"} {
		for _, d := range t.models[model{provider, pattern}] {
			if !d.from.After(at) {
				return d.Price, true
			}
		}
	}
	return Price{}, false
}

// dateSuffix is how providers name versions of a model: gpt-5-2025-08-07,
// claude-opus-4-5-20251101.
var dateSuffix = regexp.MustCompile(`-(\d{4}-\d{2}-\d{2}|\d{8})$`)

// undated is the name without its version.
func undated(name string) string {
	if at := dateSuffix.FindStringIndex(name); at != nil {
		return name[:at[0]]
	}
	return name
}

// Parse reads a file of prices; the name is what mistakes call it. The error
// joins all that is wrong, each a *[Mistake].
func Parse(name string, data []byte) (*Table, error) {
	sum := sha256.Sum256(data)
	p := parser{document.New(name), &Table{Version: hex.EncodeToString(sum[:6]), models: map[model][]dated{}}}
	if root := p.doc.Root(data); root != nil {
		p.doc.Fields(root, "the file", map[string]document.Field{"prices": {Read: p.prices, Required: true}})
	}
	if err := p.doc.Err(); err != nil {
		return nil, err
	}
	return p.table, nil
}

type parser struct {
	doc   *document.Document
	table *Table
}

func (p parser) prices(node *yaml.Node) {
	p.doc.Items(node, "prices", p.price)
	if len(p.table.models) == 0 && !p.doc.Failed() {
		p.doc.Mistakef(node.Line, "there are no prices")
	}
	for _, prices := range p.table.models {
		slices.SortFunc(prices, func(a, b dated) int { return b.from.Compare(a.from) })
	}
}

// price reads one price.
func (p parser) price(node *yaml.Node) {
	var of model
	d := dated{line: node.Line}
	rates := newRates()
	before := p.doc.Mistakes()
	fields := p.rates(&rates, "a price")
	fields["provider"] = document.Field{Read: func(n *yaml.Node) { of.provider, _ = p.doc.Text(n, "a price's provider") }, Required: true}
	fields["model"] = document.Field{Read: func(n *yaml.Node) { of.name = p.model(n) }, Required: true}
	fields["from"] = document.Field{Read: func(n *yaml.Node) { d.from, _ = p.doc.Date(n, "a price's from") }, Required: true}
	fields["long_prompt"] = document.Field{Read: func(n *yaml.Node) { d.LongPrompt = p.longPrompt(n) }}
	p.doc.Fields(node, "a price", fields)
	if p.doc.Mistakes() > before {
		return
	}
	d.Rates = p.complete(rates, node, "a price")
	d.Version = d.from.Format(time.DateOnly)
	for _, other := range p.table.models[of] {
		if other.from.Equal(d.from) {
			p.doc.Mistakef(node.Line, "%s of %s has a price from %s in line %d already", of.name, of.provider, d.Version, other.line)
			return
		}
	}
	p.table.models[of] = append(p.table.models[of], d)
}

func (p parser) longPrompt(node *yaml.Node) LongPrompt {
	var long LongPrompt
	rates := newRates()
	before := p.doc.Mistakes()
	fields := p.rates(&rates, "a long_prompt")
	fields["above"] = document.Field{Read: func(n *yaml.Node) {
		long.Above, _ = p.doc.Whole(n, "a long_prompt's above", 1, 1_000_000_000)
	}, Required: true}
	p.doc.Fields(node, "a long_prompt", fields)
	if p.doc.Mistakes() > before {
		return LongPrompt{}
	}
	long.Rates = p.complete(rates, node, "a long_prompt")
	return long
}

// unsaid is a rate that the file does not have.
const unsaid = -1

func newRates() Rates { return Rates{unsaid, unsaid, unsaid, unsaid, unsaid, unsaid} }

func (p parser) rates(r *Rates, what string) map[string]document.Field {
	read := func(name string, into *int64) func(*yaml.Node) {
		return func(n *yaml.Node) { *into = p.rate(n, what+"'s "+name) }
	}
	return map[string]document.Field{
		"input":          {Read: read("input", &r.Input), Required: true},
		"cache_read":     {Read: read("cache_read", &r.CacheRead)},
		"cache_write":    {Read: read("cache_write", &r.CacheWrite)},
		"cache_write_1h": {Read: read("cache_write_1h", &r.CacheWrite1h)},
		"output":         {Read: read("output", &r.Output), Required: true},
		"reasoning":      {Read: read("reasoning", &r.Reasoning)},
	}
}

// complete fills in what is not said: it costs what its direction costs, reading a
// cache as much as having none and thinking as much as saying. Who charges for
// writing charges more for keeping longer, so for that no default is safe.
func (p parser) complete(r Rates, node *yaml.Node, what string) Rates {
	if (r.CacheWrite == unsaid) != (r.CacheWrite1h == unsaid) {
		p.doc.Mistakef(node.Line, "%s has one of cache_write and cache_write_1h; it must have both or neither", what)
		return r
	}
	for _, rate := range []*int64{&r.CacheRead, &r.CacheWrite, &r.CacheWrite1h} {
		if *rate == unsaid {
			*rate = r.Input
		}
	}
	if r.Reasoning == unsaid {
		r.Reasoning = r.Output
	}
	return r
}

// model reads a name: exact, with -* at its end, or *.
func (p parser) model(node *yaml.Node) string {
	name, ok := p.doc.Text(node, "a price's model")
	stem := strings.TrimSuffix(name, "-*")
	if ok && name != "*" && (strings.Contains(stem, "*") || stem == "" || (stem != name && undated(stem) != stem)) {
		p.doc.Mistakef(node.Line, "a price's model must be a name, a name with -* for its dated versions, or *")
	}
	return name
}

// maxRate is a million dollars for a million tokens: a dollar each.
const maxRate = 1_000_000 * 1_000_000_000

func (p parser) rate(node *yaml.Node, what string) int64 {
	text, ok := p.doc.Decimal(node, what)
	if !ok {
		return 0
	}
	nanos, err := ParseDollars(text)
	if err != nil {
		p.doc.Mistakef(node.Line, "%s %v", what, err)
		return 0
	}
	if nanos > maxRate {
		p.doc.Mistakef(node.Line, "%s is more than a dollar a token", what)
		return 0
	}
	return nanos
}
