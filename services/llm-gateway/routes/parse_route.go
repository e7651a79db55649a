package routes

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// Bounds of routes.
const (
	maxAttempts = 10
	maxTotal    = time.Hour
	maxTokens   = 10_000_000
	// defaultDrainBound is how long Drain reads on.
	defaultDrainBound = 10 * time.Second
)

// builtInDefaults are what a route is that says nothing, in a file that says no
// other defaults.
func builtInDefaults() Route {
	return Route{
		Timeouts:     Timeouts{Connect: 5 * time.Second, FirstToken: time.Minute, Idle: 30 * time.Second, Total: 5 * time.Minute},
		Attempts:     4,
		MaxTokens:    4096,
		MaxTokensCap: 32_768,
		Disconnect:   Cancel,
	}
}

// settings are the fields that both defaults and a route have.
func (p *parser) settings(r *Route, what string) map[string]document.Field {
	return map[string]document.Field{
		"timeouts":       {Read: func(n *yaml.Node) { p.timeouts(n, &r.Timeouts, what) }},
		"attempts":       {Read: p.whole(&r.Attempts, what+": attempts", 1, maxAttempts)},
		"max_tokens":     {Read: p.whole64(&r.MaxTokens, what+": max_tokens", 1, maxTokens)},
		"max_tokens_cap": {Read: p.whole64(&r.MaxTokensCap, what+": max_tokens_cap", 1, maxTokens)},
		"disconnect":     {Read: func(n *yaml.Node) { p.disconnect(n, r, what) }},
		"drain_bound":    {Read: p.duration(&r.DrainBound, what+": drain_bound")},
	}
}

func (p *parser) readDefaults(node *yaml.Node) {
	before := p.doc.Mistakes()
	p.doc.Fields(node, "defaults", p.settings(&p.defaults, "defaults"))
	if p.doc.Mistakes() == before {
		p.fits(&p.defaults, node, "defaults")
	}
}

func (p *parser) timeouts(node *yaml.Node, t *Timeouts, what string) {
	what += ": timeouts"
	p.doc.Fields(node, what, map[string]document.Field{
		"connect":     {Read: p.duration(&t.Connect, what+": connect")},
		"first_token": {Read: p.duration(&t.FirstToken, what+": first_token")},
		"idle":        {Read: p.duration(&t.Idle, what+": idle")},
		"total":       {Read: p.duration(&t.Total, what+": total")},
	})
}

func (p *parser) duration(into *time.Duration, what string) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if value, ok := p.doc.Duration(node, what, maxTotal); ok {
			*into = value
		}
	}
}

func (p *parser) disconnect(node *yaml.Node, r *Route, what string) {
	text, ok := p.doc.Text(node, what+": disconnect")
	if !ok {
		return
	}
	if r.Disconnect, ok = disconnects[text]; !ok {
		p.doc.Mistakef(node.Line, "%s: disconnect must be cancel, drain or detach", what)
	}
}

// fits says what settings of a route, or the defaults, contradict each other.
func (p *parser) fits(r *Route, node *yaml.Node, what string) {
	lineOf := func(name string) int {
		if value := member(node, name); value != nil {
			return value.Line
		}
		return node.Line
	}
	t := r.Timeouts
	for _, pair := range []struct {
		shorter, longer string
		fits            bool
	}{
		{"connect (" + t.Connect.String() + ")", "first_token (" + t.FirstToken.String() + ")", t.Connect < t.FirstToken},
		{"first_token (" + t.FirstToken.String() + ")", "total (" + t.Total.String() + ")", t.FirstToken < t.Total},
		{"idle (" + t.Idle.String() + ")", "total (" + t.Total.String() + ")", t.Idle < t.Total},
		{"drain_bound (" + r.DrainBound.String() + ")", "total (" + t.Total.String() + ")", r.DrainBound < t.Total},
	} {
		if !pair.fits {
			p.doc.Mistakef(lineOf("timeouts"), "%s: timeout %s must be below %s", what, pair.shorter, pair.longer)
		}
	}
	if r.MaxTokens > r.MaxTokensCap {
		p.doc.Mistakef(lineOf("max_tokens"), "%s: max_tokens (%d) must be at most max_tokens_cap (%d)", what, r.MaxTokens, r.MaxTokensCap)
	}
	if r.Disconnect != Drain && r.DrainBound != 0 {
		p.doc.Mistakef(lineOf("drain_bound"), "%s: drain_bound is for disconnect: drain", what)
	}
}

func (p *parser) readRoutes(node *yaml.Node) {
	names := map[string]int{}
	taken := map[string]map[string]int{} // tenant, model: the line that has it
	p.doc.Items(node, "routes", func(item *yaml.Node) { p.readRoute(item, names, taken) })
}

// unlinked is a route with its chain not yet looked at.
type unlinked struct {
	Route
	chain *yaml.Node
}

func (p *parser) readRoute(node *yaml.Node, names map[string]int, taken map[string]map[string]int) {
	r := unlinked{Route: p.defaults}
	r.Line = node.Line
	r.Tenants = []string{everyone}
	what := "a route"
	if name := scalar(node, "name"); name != "" {
		what = "route " + quote(name)
	}
	before := p.doc.Mistakes()
	fields := p.settings(&r.Route, what)
	fields["name"] = document.Field{Read: func(n *yaml.Node) { r.Name = p.name(n, what+": name") }, Required: true}
	fields["models"] = document.Field{Read: func(n *yaml.Node) { r.Models = p.names(n, what+": models", p.model) }, Required: true}
	fields["tenants"] = document.Field{Read: func(n *yaml.Node) { r.Tenants = p.names(n, what+": tenants", p.tenant) }}
	fields["chain"] = document.Field{Read: func(n *yaml.Node) { r.chain = n }, Required: true}
	if !p.doc.Fields(node, what, fields) {
		return
	}
	if line, repeated := names[r.Name]; repeated && r.Name != "" {
		p.doc.Mistakef(node.Line, "%s is in line %d already", what, line)
	}
	names[r.Name] = node.Line
	if has(node, "disconnect") && !has(node, "drain_bound") {
		r.DrainBound = 0
	}
	if r.Disconnect == Drain && r.DrainBound == 0 {
		r.DrainBound = min(defaultDrainBound, r.Timeouts.Total/2)
	}
	if !has(node, "max_tokens_cap") {
		r.MaxTokensCap = max(r.MaxTokensCap, r.MaxTokens)
	}
	if !has(node, "max_tokens") {
		r.MaxTokens = min(r.MaxTokens, r.MaxTokensCap)
	}
	if p.doc.Mistakes() == before {
		p.fits(&r.Route, node, what)
	}
	p.claim(&r.Route, what, taken)
	if r.chain == nil {
		return
	}
	links, lost := p.chain(r.chain, what)
	if p.doc.Mistakes() > before {
		return
	}
	if len(links) == 0 {
		p.drop(r.Line, what, "nobody is left to ask: "+strings.Join(lost, "; "))
		return
	}
	for _, why := range lost {
		p.drop(r.Line, "a link of "+what, why)
	}
	p.add(r.Route, links, what)
}

// names reads a list of which none is wrong; at least one.
func (p *parser) names(node *yaml.Node, what string, each func(*yaml.Node, string) string) []string {
	var found []string
	if !p.doc.Items(node, what, func(item *yaml.Node) {
		text := each(item, "an item of "+what)
		if text != "" && slices.Contains(found, text) {
			p.doc.Mistakef(item.Line, "%s has %s twice", what, quote(text))
		}
		found = append(found, text)
	}) {
		return nil
	}
	if len(found) == 0 {
		p.doc.Mistakef(node.Line, "%s is empty", what)
	}
	return found
}

// claim sees to it that a tenant's model has one route. One that names the
// tenant and one for everybody are two: the first goes first.
func (p *parser) claim(r *Route, what string, taken map[string]map[string]int) {
	for _, tenant := range r.Tenants {
		if taken[tenant] == nil {
			taken[tenant] = map[string]int{}
		}
		for _, model := range r.Models {
			if line, ok := taken[tenant][model]; ok && line != r.Line && model != "" && tenant != "" {
				p.doc.Mistakef(r.Line, "%s: model %s has a route for tenant %s in line %d already", what, quote(model), quote(tenant), line)
				continue
			}
			taken[tenant][model] = r.Line
		}
	}
}

// add puts a route into the table: once, or once for each of its models if a
// link passes on what the client asks for.
func (p *parser) add(r Route, links []Link, what string) {
	together := [][]string{r.Models}
	if slices.ContainsFunc(links, func(l Link) bool { return l.Model == "" }) {
		together = slices.Collect(slices.Chunk(r.Models, 1))
	}
	for _, models := range together {
		route := r
		route.Models = models
		route.Chain = slices.Clone(links)
		for i := range route.Chain {
			if route.Chain[i].Model == "" {
				route.Chain[i].Model = models[0]
			}
		}
		p.table.Routes = append(p.table.Routes, &route)
		for _, tenant := range r.Tenants {
			if p.table.models[tenant] == nil {
				p.table.models[tenant] = map[string]*Route{}
			}
			for _, model := range models {
				p.table.models[tenant][model] = &route
			}
		}
	}
}
