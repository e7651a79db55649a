package workflows

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Workflow is what is looked at in a workflow.
type Workflow struct {
	Permissions any // a map, or a word such as write-all
	Concurrency map[string]any
	Jobs        map[string]Job
}

// Job is one job of a workflow.
type Job struct {
	Timeout int `yaml:"timeout-minutes"`
	Steps   []Step
}

// Step runs an action or a script.
type Step struct {
	Uses, Run string
	With      map[string]any
}

var (
	// A commit, and the release that it is, for people.
	pinned = regexp.MustCompile(`^\s*(?:- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	uses   = regexp.MustCompile(`^\s*(?:- )?uses:`)
	target = regexp.MustCompile(`(?m)^([a-z0-9/$().-]+):`)
	making = regexp.MustCompile(`\bmake ([a-z0-9/-]+)`)
)

// Faults returns what is wrong with a workflow, a line each.
func Faults(text, makefile string) ([]string, error) {
	var w Workflow
	if err := yaml.Unmarshal([]byte(text), &w); err != nil {
		return nil, err
	}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	if !reflect.DeepEqual(w.Permissions, map[string]any{"contents": "read"}) {
		fault("permissions are not contents: read and nothing else; a job that needs more says so itself")
	}
	if w.Concurrency["group"] == nil {
		fault("no concurrency group: runs of one branch pile up")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if uses.MatchString(line) && !pinned.MatchString(line) {
			fault("not pinned by commit, with its release beside it: %s", strings.TrimSpace(line))
		}
	}
	targets := []string{}
	for _, found := range target.FindAllStringSubmatch(makefile, -1) {
		targets = append(targets, found[1])
	}
	for name, job := range w.Jobs {
		if job.Timeout == 0 {
			fault("%s: no timeout: a job that hangs is paid for six hours", name)
		}
		for _, step := range job.Steps {
			if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
				fault("%s: the checkout leaves its token behind for every later step", name)
			}
			if strings.Contains(step.Run, "${{") {
				fault("%s: an expression in a script is text that others may choose; pass it by env", name)
			}
			for _, call := range making.FindAllStringSubmatch(step.Run, -1) {
				if !slices.Contains(targets, call[1]) {
					fault("%s: make knows no %s", name, call[1])
				}
			}
		}
	}
	slices.Sort(faults)
	return faults, nil
}
