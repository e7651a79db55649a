package routes

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// chain reads whom a route asks, and returns also why some of them are lost. A
// link without a model passes on the client's.
func (p *parser) chain(node *yaml.Node, what string) (links []Link, lost []string) {
	count := 0
	ok := p.doc.Items(node, what+": chain", func(item *yaml.Node) {
		count++
		link, why := p.link(item, what)
		switch {
		case why != "":
			lost = append(lost, why)
		case link.Provider != nil:
			links = append(links, link)
		}
	})
	if ok && count == 0 {
		p.doc.Mistakef(node.Line, "%s: chain is empty: nobody would answer", what)
	}
	return links, lost
}

// link reads one target. Without a provider it is a mistake, or lost if why says
// so.
func (p *parser) link(node *yaml.Node, what string) (link Link, why string) {
	what = "a link of " + what
	link.Line = node.Line
	var provider, keys *yaml.Node
	p.doc.Fields(node, what, map[string]document.Field{
		"provider": {Read: func(n *yaml.Node) { provider = n }, Required: true},
		"model":    {Read: func(n *yaml.Node) { link.Model = p.model(n, what+": model") }},
		"keys":     {Read: func(n *yaml.Node) { keys = n }},
	})
	if provider == nil {
		return Link{}, ""
	}
	name, ok := p.doc.Text(provider, what+": provider")
	if !ok {
		return Link{}, ""
	}
	c, known := p.providers[name]
	if !known {
		p.doc.Mistakef(provider.Line, "%s: there is no provider %s", what, quote(name))
		return Link{}, ""
	}
	if c.wrong {
		return Link{}, ""
	}
	link.Keys = c.Keys
	if keys != nil {
		if link.Keys, ok = p.linkKeys(keys, c, what); !ok {
			return Link{}, ""
		}
	}
	switch {
	case c.dropped != "":
		return Link{}, "provider " + quote(name) + ": " + c.dropped
	case len(link.Keys) == 0 && c.optional:
		return Link{}, "provider " + quote(name) + ": none of the link's keys is set"
	case len(link.Keys) == 0:
		p.doc.Mistakef(keys.Line, "%s: none of its keys is set", what)
		return Link{}, ""
	}
	link.Provider = c.Provider
	return link, ""
}

// linkKeys picks the keys that a link names, in its order, of those that are set.
func (p *parser) linkKeys(node *yaml.Node, c *candidate, what string) (keys []Key, ok bool) {
	before := p.doc.Mistakes()
	for _, name := range p.names(node, what+": keys", p.name) {
		if name == "" {
			continue
		}
		if !c.named[name] {
			p.doc.Mistakef(node.Line, "%s: provider %s has no key %s", what, quote(c.Name), quote(name))
			continue
		}
		if i := slices.IndexFunc(c.Keys, func(k Key) bool { return k.Name == name }); i >= 0 {
			keys = append(keys, c.Keys[i])
		}
	}
	return keys, p.doc.Mistakes() == before
}

// has says whether a mapping has a member.
func has(node *yaml.Node, name string) bool { return member(node, name) != nil }

// scalar returns a member's text; "" if it has none.
func scalar(node *yaml.Node, name string) string {
	if value := member(node, name); value != nil && value.Kind == yaml.ScalarNode {
		return value.Value
	}
	return ""
}

func member(node *yaml.Node, name string) *yaml.Node {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}
