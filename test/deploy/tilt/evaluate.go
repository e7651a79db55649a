package tilt

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// Situation is what a Tiltfile sees of the world around it.
type Situation struct {
	Context    string            // the current Kubernetes context
	Subcommand string            // "up", "ci" or "down"
	Settings   map[string]string // what was given after `--`
	// Local answers a command that the Tiltfile runs while it is evaluated.
	Local func(command []string) (string, error)
	// Render builds the overlay at a path, relative to the root.
	Render func(path string) (string, error)
	// Edit, if set, changes the text of a file before it is read: a control breaks
	// the Tiltfile with it.
	Edit func(path, text string) string
}

// Evaluate runs the Tiltfile of the checkout at root and returns what it asks of
// Tilt. The plan is returned with an error, too, as far as it got.
func Evaluate(root string, situation Situation) (*Plan, error) {
	e := &evaluation{
		root:      root,
		situation: situation,
		plan:      &Plan{Resources: map[string]*Resource{}, Images: map[string]Image{}},
		loaded:    map[string]starlark.StringDict{},
	}
	if _, err := e.file("Tiltfile"); err != nil {
		var trace *starlark.EvalError
		if errors.As(err, &trace) {
			return e.plan, fmt.Errorf("%w\n%s", err, trace.Backtrace())
		}
		return e.plan, err
	}
	return e.plan, nil
}

type evaluation struct {
	root      string
	situation Situation
	plan      *Plan
	settings  []string // names that were defined
	loaded    map[string]starlark.StringDict
}

// dialect is Starlark as Tilt allows it.
var dialect = &syntax.FileOptions{Set: true, GlobalReassign: true, Recursion: true, TopLevelControl: true, While: true}

// file runs a file once; its path is relative to the root.
func (e *evaluation) file(path string) (starlark.StringDict, error) {
	if globals, done := e.loaded[path]; done {
		if globals == nil {
			return nil, fmt.Errorf("%s loads itself", path)
		}
		return globals, nil
	}
	e.loaded[path] = nil
	text, err := os.ReadFile(filepath.Join(e.root, path))
	if err != nil {
		return nil, err
	}
	if e.situation.Edit != nil {
		text = []byte(e.situation.Edit(path, string(text)))
	}
	thread := &starlark.Thread{
		Name: path,
		Load: func(_ *starlark.Thread, module string) (starlark.StringDict, error) {
			return e.file(filepath.Join(filepath.Dir(path), module))
		},
	}
	globals, err := starlark.ExecFileOptions(dialect, thread, path, text, e.predeclared())
	if err != nil {
		return nil, err
	}
	e.loaded[path] = globals
	return globals, nil
}

// predeclared is all that the Tiltfile finds beside Starlark itself.
func (e *evaluation) predeclared() starlark.StringDict {
	known := starlark.StringDict{
		"TRIGGER_MODE_AUTO":   constant{"trigger mode", "auto"},
		"TRIGGER_MODE_MANUAL": constant{"trigger mode", "manual"},
	}
	modules := map[string]starlark.StringDict{
		"config": {"tilt_subcommand": starlark.String(e.situation.Subcommand)},
	}
	behaviours := e.builtins()
	for _, s := range parsedSignatures() {
		behave := behaviours[s.name]
		builtin := starlark.NewBuiltin(s.name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			bound, err := s.bind(args, kwargs)
			if err != nil {
				return nil, err
			}
			value, err := behave(bound)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			return value, nil
		})
		if module, member, ok := strings.Cut(s.name, "."); ok {
			modules[module][member] = builtin
		} else {
			known[s.name] = builtin
		}
	}
	for name, members := range modules {
		known[name] = &starlarkstruct.Module{Name: name, Members: members}
	}
	return known
}

// Cycle returns a chain of resources that wait for each other, or nil.
func (p *Plan) Cycle() []string {
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(name string, path []string) []string
	visit = func(name string, path []string) []string {
		path = append(path, name)
		switch state[name] {
		case visiting:
			return path[slices.Index(path, name):]
		case done:
			return nil
		}
		state[name] = visiting
		if r := p.Resources[name]; r != nil {
			for _, next := range r.DependsOn {
				if cycle := visit(next, path); cycle != nil {
					return cycle
				}
			}
		}
		state[name] = done
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.Resources)) {
		if cycle := visit(name, nil); cycle != nil {
			return cycle
		}
	}
	return nil
}

// Before returns all that a resource waits for, directly or not.
func (p *Plan) Before(name string) map[string]bool {
	before := map[string]bool{}
	var add func(string)
	add = func(name string) {
		r := p.Resources[name]
		if r == nil {
			return
		}
		for _, next := range r.DependsOn {
			if !before[next] {
				before[next] = true
				add(next)
			}
		}
	}
	add(name)
	return before
}
