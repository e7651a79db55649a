package observability

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// promQL reads expressions as a Prometheus without feature flags does.
var promQL = parser.NewParser(parser.Options{})

// Given by Prometheus itself: services publish neither.
var (
	ownMetrics = []string{"up", "ALERTS"}
	ownLabels  = []string{"job", "instance"}
)

// uses is what expressions need of the services: by metric and label, the
// values of the label that are named literally.
type uses map[string]map[string]set

type set map[string]bool

func setOf(items ...string) set {
	s := set{}
	for _, item := range items {
		s[item] = true
	}
	return s
}

func (s set) with(more ...string) set {
	all := maps.Clone(s)
	for _, item := range more {
		all[item] = true
	}
	return all
}

func (s set) without(less ...string) set {
	rest := maps.Clone(s)
	for _, item := range less {
		delete(rest, item)
	}
	return rest
}

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }

// reader collects the uses of expressions.
type reader struct {
	recorded map[string]parser.Expr // recording rules, which are read through
	found    uses
}

// read adds what an expression uses when its reader looks at these labels of
// the result: those of a legend, or of an alert's text.
func (r *reader) read(expression string, shown ...string) error {
	parsed, err := promQL.ParseExpr(expression)
	if err != nil {
		return err
	}
	return r.walk(parsed, setOf(shown...))
}

// walk follows labels from the result of an expression down to the series that
// must have them. A label that is asked for and was aggregated away is an error.
func (r *reader) walk(e parser.Expr, need set) error {
	switch e := e.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil
	case *parser.ParenExpr:
		return r.walk(e.Expr, need)
	case *parser.StepInvariantExpr:
		return r.walk(e.Expr, need)
	case *parser.UnaryExpr:
		return r.walk(e.Expr, need)
	case *parser.SubqueryExpr:
		return r.walk(e.Expr, need)
	case *parser.MatrixSelector:
		return r.walk(e.VectorSelector, need)
	case *parser.VectorSelector:
		return r.selector(e, need)
	case *parser.AggregateExpr:
		if e.Without {
			return r.walk(e.Expr, need)
		}
		if lost := need.without(e.Grouping...); len(lost) > 0 {
			return fmt.Errorf("%s has no label %s", e, strings.Join(lost.sorted(), ", "))
		}
		return r.walk(e.Expr, setOf(e.Grouping...))
	case *parser.Call:
		return r.call(e, need)
	case *parser.BinaryExpr:
		return r.binary(e, need)
	default:
		return fmt.Errorf("%s: %T is not understood here", e, e)
	}
}

func (r *reader) call(e *parser.Call, need set) error {
	switch e.Func.Name {
	case "histogram_quantile":
		need = need.with("le")
	case "absent", "absent_over_time":
		need = set{}
	case "label_replace", "label_join":
		return fmt.Errorf("%s: labels that are made up are not understood here", e)
	}
	for _, argument := range e.Args {
		if err := r.walk(argument, need); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) binary(e *parser.BinaryExpr, need set) error {
	left, right := need, need
	if m := e.VectorMatching; m != nil && m.On {
		on := m.MatchingLabels
		switch {
		case e.Op == parser.LAND || e.Op == parser.LUNLESS:
			left, right = need.with(on...), setOf(on...)
		case m.Card == parser.CardManyToOne:
			left, right = need.without(m.Include...).with(on...), setOf(on...).with(m.Include...)
		case m.Card == parser.CardOneToMany:
			left, right = setOf(on...).with(m.Include...), need.without(m.Include...).with(on...)
		default:
			left, right = need.with(on...), need.with(on...)
		}
	}
	if err := r.walk(e.LHS, left); err != nil {
		return err
	}
	return r.walk(e.RHS, right)
}

// alternatives is a regular expression that is nothing but words.
var alternatives = regexp.MustCompile(`^[A-Za-z0-9_]+(\|[A-Za-z0-9_]+)*$`)

func (r *reader) selector(e *parser.VectorSelector, need set) error {
	if recorded, ok := r.recorded[e.Name]; ok {
		for _, m := range e.LabelMatchers {
			if m.Name != model.MetricNameLabel {
				need = need.with(m.Name)
			}
		}
		return r.walk(recorded, need)
	}
	if slices.Contains(ownMetrics, e.Name) {
		return nil
	}
	if r.found[e.Name] == nil {
		r.found[e.Name] = map[string]set{}
	}
	add := func(label string, values ...string) {
		if slices.Contains(ownLabels, label) || label == model.MetricNameLabel {
			return
		}
		r.found[e.Name][label] = setOf(values...).with(r.found[e.Name][label].sorted()...)
	}
	for label := range need {
		add(label)
	}
	for _, m := range e.LabelMatchers {
		switch {
		case m.Type == labels.MatchEqual:
			add(m.Name, m.Value)
		case m.Type == labels.MatchRegexp && alternatives.MatchString(m.Value):
			add(m.Name, strings.Split(m.Value, "|")...)
		default:
			add(m.Name)
		}
	}
	return nil
}

// lines is how uses are written down, one metric a line: name{label,label="value"}.
func (u uses) lines() []string {
	var lines []string
	for _, metric := range slices.Sorted(maps.Keys(u)) {
		var parts []string
		for _, label := range slices.Sorted(maps.Keys(u[metric])) {
			values := u[metric][label]
			if len(values) == 0 {
				parts = append(parts, label)
			}
			for _, value := range values.sorted() {
				parts = append(parts, fmt.Sprintf("%s=%q", label, value))
			}
		}
		lines = append(lines, metric+"{"+strings.Join(parts, ",")+"}")
	}
	return lines
}
