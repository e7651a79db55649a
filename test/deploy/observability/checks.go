package observability

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"sigs.k8s.io/yaml"
)

const runbooks = "docs/runbooks/"

// alertProblems holds alerts to what whoever is woken by one needs. Files are
// the names in the folder of runbooks, index its README.
func alertProblems(rules []rulefmt.Rule, files []string, index string) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	used := set{}
	for _, rule := range rules {
		if rule.Alert == "" {
			continue
		}
		if severity := rule.Labels["severity"]; severity != "page" && severity != "ticket" {
			problem("%s: severity is %q, must be page or ticket", rule.Alert, severity)
		}
		if rule.Annotations["summary"] == "" {
			problem("%s has no summary", rule.Alert)
		}
		runbook, isPath := strings.CutPrefix(rule.Annotations["runbook"], runbooks)
		switch {
		case !isPath:
			problem("%s: runbook is %q, must be a path below %s", rule.Alert, rule.Annotations["runbook"], runbooks)
		case !slices.Contains(files, runbook):
			problem("%s: there is no %s%s", rule.Alert, runbooks, runbook)
		}
		used[runbook] = true
		if !strings.Contains(index, rule.Alert+" | [") {
			problem("%s is not in %sREADME.md", rule.Alert, runbooks)
		}
	}
	for _, file := range files {
		if file != "README.md" && !used[file] {
			problem("no alert has the runbook %s%s", runbooks, file)
		}
		if file != "README.md" && !strings.Contains(index, "]("+file+")") {
			problem("%sREADME.md does not link to %s", runbooks, file)
		}
	}
	return problems
}

// sections are what every runbook answers, in this order.
var sections = []string{"## What it means", "## What users see", "## Look first", "## Mend", "## See it happen"}

// runbookProblems holds one runbook to its form; alerts are those that lead to it.
func runbookProblems(text string, alerts []string) []string {
	var problems []string
	for _, alert := range alerts {
		if !strings.Contains(text, "`"+alert+"`") {
			problems = append(problems, "it does not name its alert "+alert)
		}
	}
	at := 0
	for _, section := range sections {
		found := strings.Index(text[at:], "\n"+section+"\n")
		if found < 0 {
			problems = append(problems, "there is no section "+section+" in its place")
			continue
		}
		at += found + len(section)
	}
	return problems
}

// dashboardProblems holds dashboards to what is provisioned for them.
func dashboardProblems(dashboards []dashboard, datasources map[string]string) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	uids := set{}
	for _, d := range dashboards {
		if d.UID == "" || uids[d.UID] {
			problem("%s: the uid %q is empty or that of another dashboard", d.File, d.UID)
		}
		uids[d.UID] = true
		provisioned := func(where string, ds datasource) {
			if ds.Type == "" || datasources[ds.UID] != ds.Type {
				problem("%s: %s asks the datasource %s of type %s, which is not provisioned", d.File, where, ds.UID, ds.Type)
			}
		}
		for _, variable := range d.Templating.List {
			provisioned("the variable "+variable.Name, variable.Datasource)
		}
		ids := map[int]bool{}
		for _, p := range d.Panels {
			provisioned(p.Title, p.Datasource)
			if ids[p.ID] {
				problem("%s: two panels have the id %d", d.File, p.ID)
			}
			ids[p.ID] = true
			if p.Title == "" || len(p.Targets) == 0 {
				problem("%s: the panel %d has no title or no query", d.File, p.ID)
			}
		}
	}
	return problems
}

// collectorProblems holds the collector's configuration to its structure: every
// pipeline is made of components that are defined, and every component is used.
func collectorProblems(content []byte) []string {
	var file struct {
		Receivers  map[string]any `json:"receivers"`
		Processors map[string]any `json:"processors"`
		Exporters  map[string]any `json:"exporters"`
		Service    struct {
			Pipelines map[string]struct {
				Receivers  []string `json:"receivers"`
				Processors []string `json:"processors"`
				Exporters  []string `json:"exporters"`
			} `json:"pipelines"`
		} `json:"service"`
	}
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if len(file.Service.Pipelines) == 0 {
		problem("there is no pipeline")
	}
	used := map[string]set{"receiver": {}, "processor": {}, "exporter": {}}
	defined := map[string]map[string]any{"receiver": file.Receivers, "processor": file.Processors, "exporter": file.Exporters}
	for name, pipeline := range file.Service.Pipelines {
		if kind := path.Base(strings.Split(name, "/")[0]); !slices.Contains([]string{"traces", "metrics", "logs"}, kind) {
			problem("the pipeline %s is of no kind that there is", name)
		}
		if len(pipeline.Receivers) == 0 || len(pipeline.Exporters) == 0 {
			problem("the pipeline %s begins or ends nowhere", name)
		}
		for kind, components := range map[string][]string{
			"receiver": pipeline.Receivers, "processor": pipeline.Processors, "exporter": pipeline.Exporters,
		} {
			for _, component := range components {
				if _, ok := defined[kind][component]; !ok {
					problem("the pipeline %s names the %s %s, which is not defined", name, kind, component)
				}
				used[kind][component] = true
			}
		}
	}
	for kind, components := range defined {
		for component := range maps.Keys(components) {
			if !used[kind][component] {
				problem("no pipeline uses the %s %s", kind, component)
			}
		}
	}
	return problems
}
