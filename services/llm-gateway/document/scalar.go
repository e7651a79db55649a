package document

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Text reads a text. Numbers and such are texts only in quotes.
func (d *Document) Text(node *yaml.Node, what string) (string, bool) {
	if !d.is(node, yaml.ScalarNode, what, "a text") {
		return "", false
	}
	if node.Tag != "!!str" {
		d.Mistakef(node.Line, "%s must be a text; put it into quotes", what)
		return "", false
	}
	if strings.TrimSpace(node.Value) == "" {
		d.Mistakef(node.Line, "%s is empty", what)
		return "", false
	}
	return node.Value, true
}

// Whole reads a whole number from least to most.
func (d *Document) Whole(node *yaml.Node, what string, least, most int64) (int64, bool) {
	if !d.is(node, yaml.ScalarNode, what, "a whole number") {
		return 0, false
	}
	value, err := strconv.ParseInt(strings.ReplaceAll(node.Value, "_", ""), 10, 64)
	if node.Tag != "!!int" || err != nil {
		d.Mistakef(node.Line, "%s must be a whole number, such as %d", what, max(least, 10))
		return 0, false
	}
	if value < least || value > most {
		d.Mistakef(node.Line, "%s must be %d to %d", what, least, most)
		return 0, false
	}
	return value, true
}

// Bool reads true or false.
func (d *Document) Bool(node *yaml.Node, what string) bool {
	if !d.is(node, yaml.ScalarNode, what, "true or false") {
		return false
	}
	if node.Tag != "!!bool" {
		d.Mistakef(node.Line, "%s must be true or false", what)
		return false
	}
	return strings.EqualFold(node.Value, "true")
}

// Duration reads a time above 0 and at most the longest, such as 1m30s.
func (d *Document) Duration(node *yaml.Node, what string, longest time.Duration) (time.Duration, bool) {
	if !d.is(node, yaml.ScalarNode, what, "a duration") {
		return 0, false
	}
	value, err := time.ParseDuration(node.Value)
	if err != nil {
		d.Mistakef(node.Line, "%s must be a duration with its unit, such as 500ms or 1m30s", what)
		return 0, false
	}
	if value <= 0 || value > longest {
		d.Mistakef(node.Line, "%s must be above 0s and at most %s", what, longest)
		return 0, false
	}
	return value, true
}

// Decimal reads the text of a decimal number, which YAML would make a float of.
func (d *Document) Decimal(node *yaml.Node, what string) (string, bool) {
	if !d.is(node, yaml.ScalarNode, what, "a decimal number") {
		return "", false
	}
	switch node.Tag {
	case "!!str", "!!int", "!!float":
		return node.Value, true
	default:
		d.Mistakef(node.Line, "%s must be a decimal number in quotes", what)
		return "", false
	}
}

// Date reads a day, such as 2026-02-05.
func (d *Document) Date(node *yaml.Node, what string) (time.Time, bool) {
	if !d.is(node, yaml.ScalarNode, what, "a date") {
		return time.Time{}, false
	}
	value, err := time.Parse(time.DateOnly, node.Value)
	if err != nil {
		d.Mistakef(node.Line, "%s must be a date, such as 2026-02-05", what)
		return time.Time{}, false
	}
	return value, true
}
