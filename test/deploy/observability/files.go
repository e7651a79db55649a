// Package observability checks what watches the platform: the configuration of
// Prometheus, of the collector and of Grafana, the alerts and their runbooks,
// and the dashboards. Whether the metrics they name exist, test/observability
// asks the running services.
package observability

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const (
	root   = "../../.."
	folder = root + "/deploy/observability"
)

// readRules reads and checks a file of rules as Prometheus does.
func readRules(content []byte) ([]rulefmt.Rule, error) {
	groups, problems := rulefmt.Parse(content, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	var rules []rulefmt.Rule
	for _, group := range groups.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, nil
}

// recordings are the recording rules among rules.
func recordings(rules []rulefmt.Rule) (map[string]parser.Expr, error) {
	recorded := map[string]parser.Expr{}
	for _, rule := range rules {
		if rule.Record == "" {
			continue
		}
		parsed, err := promQL.ParseExpr(rule.Expr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Record, err)
		}
		recorded[rule.Record] = parsed
	}
	return recorded, nil
}

// dashboard is what the checks look at in Grafana's JSON.
type dashboard struct {
	File       string `json:"-"`
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Templating struct {
		List []struct {
			Name       string     `json:"name"`
			Datasource datasource `json:"datasource"`
			Query      struct {
				Query string `json:"query"`
			} `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID         int        `json:"id"`
	Title      string     `json:"title"`
	Type       string     `json:"type"`
	Datasource datasource `json:"datasource"`
	Targets    []struct {
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
}

// readDashboards reads all dashboards.
func readDashboards() ([]dashboard, error) {
	files, err := filepath.Glob(folder + "/dashboards/*.json")
	if err != nil {
		return nil, err
	}
	var all []dashboard
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := dashboard{File: filepath.Base(file)}
		decoder := json.NewDecoder(strings.NewReader(string(content)))
		if err := decoder.Decode(&d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: something follows the dashboard", file)
		}
		all = append(all, d)
	}
	return all, nil
}

// interpolated is an expression as Grafana sends it.
func interpolated(expression string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$job", "llm-gateway|orders|payments").Replace(expression)
}

var (
	inLegend = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)
	inText   = regexp.MustCompile(`\$labels\.(\w+)`)
	ofValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

// named returns the labels that a text names.
func named(pattern *regexp.Regexp, text string) []string {
	var labels []string
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		labels = append(labels, match[1])
	}
	return labels
}

// readAll collects what the rules and dashboards use, and says what is wrong
// with any expression.
func readAll(rules []rulefmt.Rule, dashboards []dashboard) (uses, []error) {
	recorded, err := recordings(rules)
	if err != nil {
		return nil, []error{err}
	}
	r := &reader{recorded: recorded, found: uses{}}
	var problems []error
	note := func(where string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", where, err))
		}
	}
	for _, rule := range rules {
		var text strings.Builder
		for _, annotation := range rule.Annotations {
			text.WriteString(annotation)
		}
		note(rule.Alert+rule.Record, r.read(rule.Expr, named(inText, text.String())...))
	}
	for _, d := range dashboards {
		for _, variable := range d.Templating.List {
			match := ofValues.FindStringSubmatch(variable.Query.Query)
			if match == nil {
				note(d.File, fmt.Errorf("the variable %s is not label_values(metric, label)", variable.Name))
				continue
			}
			note(d.File+": "+variable.Name, r.read(match[1], match[2]))
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				note(d.File+": "+p.Title, r.read(interpolated(target.Expr), named(inLegend, target.LegendFormat)...))
			}
		}
	}
	return r.found, problems
}

// readDatasources returns the provisioned datasources, their type by their uid.
func readDatasources(content []byte) (map[string]string, error) {
	var file struct {
		Datasources []struct {
			UID  string `json:"uid"`
			Type string `json:"type"`
		} `json:"datasources"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, d := range file.Datasources {
		found[d.UID] = d.Type
	}
	return found, nil
}
