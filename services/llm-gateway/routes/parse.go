package routes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// Mistake is something that is wrong with the file, and where.
type Mistake = document.Mistake

// Parse reads a file. The name is what mistakes call it. Variables of the
// environment, for keys and base URLs, are those that env returns a text for;
// files that keys come from are read.
//
// The error joins all that is wrong, each a *[Mistake]. None of them says what a
// secret is, not even one that stands in the file by mistake.
func Parse(name string, data []byte, env func(string) string) (*Table, error) {
	table, err := parse(name, data, env, readSecretFile)
	if err != nil {
		return nil, err
	}
	return table, nil
}

// parse returns also the table of a file that is wrong, for what it depends on.
func parse(name string, data []byte, env func(string) string, readFile func(string) ([]byte, error)) (*Table, error) {
	sum := sha256.Sum256(data)
	p := &parser{
		doc: document.New(name), env: env, readFile: readFile,
		providers: map[string]*candidate{},
		defaults:  builtInDefaults(),
		table: &Table{
			Version:   hex.EncodeToString(sum[:6]),
			Providers: map[string]*Provider{},
			models:    map[string]map[string]*Route{},
			file:      name,
		},
	}
	if root := p.doc.Root(data); root != nil {
		p.file(root)
	}
	slices.Sort(p.table.secrets)
	p.table.secrets = slices.Compact(p.table.secrets)
	return p.table, p.doc.Err()
}

// parser fills a table.
type parser struct {
	doc      *document.Document
	env      func(string) string
	readFile func(string) ([]byte, error)

	table     *Table
	providers map[string]*candidate
	defaults  Route
}

// file reads the top of the file. Sections may be in any order: what others
// refer to is read first.
func (p *parser) file(root *yaml.Node) {
	sections := map[string]*yaml.Node{}
	keep := func(name string) func(*yaml.Node) {
		return func(node *yaml.Node) { sections[name] = node }
	}
	p.doc.Fields(root, "the file", map[string]document.Field{
		"defaults":  {Read: keep("defaults")},
		"providers": {Read: keep("providers"), Required: true},
		"routes":    {Read: keep("routes"), Required: true},
		"budgets":   {Read: keep("budgets")},
		"limits":    {Read: keep("limits")},
	})
	for _, section := range []struct {
		name string
		read func(*yaml.Node)
	}{
		{"defaults", p.readDefaults},
		{"providers", p.readProviders},
		{"routes", p.readRoutes},
		{"budgets", p.readBudgets},
		{"limits", p.readLimits},
	} {
		if node, ok := sections[section.name]; ok {
			section.read(node)
		}
	}
	if node, ok := sections["routes"]; ok && len(p.table.Routes) == 0 && !p.doc.Failed() {
		p.doc.Mistakef(node.Line, "no route is left: %s", p.whyDropped())
	}
}

func (p *parser) whyDropped() string {
	if len(p.table.Dropped) == 0 {
		return "there is none"
	}
	return p.table.Dropped[0].String()
}

// String says what is not in force and why, on one line.
func (d Dropped) String() string { return fmt.Sprintf("%s (line %d): %s", d.What, d.Line, d.Why) }

func (p *parser) drop(line int, what, why string) {
	p.table.Dropped = append(p.table.Dropped, Dropped{What: what, Why: why, Line: line})
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	tenantPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) // as pkg/auth has it
)

// name reads what the ledger and metrics will call something.
func (p *parser) name(node *yaml.Node, what string) string {
	text, ok := p.doc.Text(node, what)
	if ok && (len(text) > 63 || !namePattern.MatchString(text)) {
		p.doc.Mistakef(node.Line, "%s must be lower-case words of at most 63 characters, such as openai-eu", what)
		return ""
	}
	return text
}

// tenant reads whose something is.
func (p *parser) tenant(node *yaml.Node, what string) string {
	text, ok := p.doc.Text(node, what)
	if ok && text != everyone && !tenantPattern.MatchString(text) {
		p.doc.Mistakef(node.Line, "%s must be a tenant's name, or %q for each", what, everyone)
		return ""
	}
	return text
}

// model reads the name of a model.
func (p *parser) model(node *yaml.Node, what string) string {
	text, ok := p.doc.Text(node, what)
	if ok && (len(text) > 200 || !printable(text)) {
		p.doc.Mistakef(node.Line, "%s must be at most 200 visible ASCII characters", what)
		return ""
	}
	return text
}

// printable says whether a text is visible ASCII.
func printable(text string) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

// readSecretFile reads a file that should hold a key and nothing else. It must
// be a regular one: a device or a pipe might never end.
func readSecretFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has %d bytes, more than a key", path, info.Size())
	}
	return os.ReadFile(path)
}

const maxSecret = 16 << 10
