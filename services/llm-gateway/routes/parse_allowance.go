package routes

import (
	"math"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
)

func (p *parser) readBudgets(node *yaml.Node) {
	taken := map[[2]string]int{}
	p.doc.Items(node, "budgets", func(item *yaml.Node) {
		b := Budget{Tenant: everyone, Line: item.Line}
		before := p.doc.Mistakes()
		p.doc.Fields(item, "a budget", map[string]document.Field{
			"name":      {Read: func(n *yaml.Node) { b.Name = p.name(n, "a budget's name") }, Required: true},
			"tenant":    {Read: func(n *yaml.Node) { b.Tenant = p.tenant(n, "a budget's tenant") }},
			"period":    {Read: func(n *yaml.Node) { b.Period = p.period(n) }, Required: true},
			"limit_usd": {Read: func(n *yaml.Node) { b.Limit = p.dollars(n, "a budget's limit_usd") }, Required: true},
		})
		if p.doc.Mistakes() > before {
			return
		}
		key := [2]string{b.Tenant, b.Name}
		if line, repeated := taken[key]; repeated {
			p.doc.Mistakef(item.Line, "tenant %s has a budget %s in line %d already", quote(b.Tenant), quote(b.Name), line)
			return
		}
		taken[key] = item.Line
		p.table.Budgets = append(p.table.Budgets, b)
	})
}

func (p *parser) period(node *yaml.Node) Period {
	text, ok := p.doc.Text(node, "a budget's period")
	switch period := Period(text); period {
	case Day, Month, Total:
		return period
	default:
		if ok {
			p.doc.Mistakef(node.Line, "a budget's period must be day, month or total")
		}
		return ""
	}
}

func (p *parser) dollars(node *yaml.Node, what string) int64 {
	text, ok := p.doc.Decimal(node, what)
	if !ok {
		return 0
	}
	nanos, err := price.ParseDollars(text)
	if err != nil || nanos <= 0 {
		p.doc.Mistakef(node.Line, "%s must be an amount above 0 such as \"100.00\"", what)
	}
	return nanos
}

func (p *parser) readLimits(node *yaml.Node) {
	taken := map[string]int{}
	p.doc.Items(node, "limits", func(item *yaml.Node) {
		l := Limit{Tenant: everyone, Line: item.Line}
		before := p.doc.Mistakes()
		p.doc.Fields(item, "a limit", map[string]document.Field{
			"tenant":              {Read: func(n *yaml.Node) { l.Tenant = p.tenant(n, "a limit's tenant") }},
			"requests_per_minute": {Read: p.whole64(&l.RequestsPerMinute, "a limit's requests_per_minute", 1, math.MaxInt32)},
			"tokens_per_minute":   {Read: p.whole64(&l.TokensPerMinute, "a limit's tokens_per_minute", 1, maxTokensPerMinute)},
		})
		if p.doc.Mistakes() > before {
			return
		}
		if l.RequestsPerMinute == 0 && l.TokensPerMinute == 0 {
			p.doc.Mistakef(item.Line, "a limit has neither requests_per_minute nor tokens_per_minute")
		}
		if line, repeated := taken[l.Tenant]; repeated {
			p.doc.Mistakef(item.Line, "tenant %s has a limit in line %d already", quote(l.Tenant), line)
			return
		}
		taken[l.Tenant] = item.Line
		p.table.Limits = append(p.table.Limits, l)
	})
}
