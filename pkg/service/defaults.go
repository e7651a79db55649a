package service

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

// Variables lists what the service reads from the environment, by name, with the
// defaults that it has here.
func (d Definition) Variables() []config.Variable {
	variables := config.Describe(d.Configs()...)
	for i, v := range variables {
		if value, own := d.Defaults[v.Name]; own {
			variables[i].Default = value
		}
	}
	return variables
}

// environment is what the service is told: the variables that are given, and its
// own defaults of those that are not. Nil stands for the process's environment. A
// variable that is set to nothing is not set, as for every other default.
func (d Definition) environment(given map[string]string) map[string]string {
	if given == nil {
		given = processEnvironment()
	}
	all := maps.Clone(given)
	for name, value := range d.Defaults {
		if all[name] == "" {
			all[name] = value
		}
	}
	return all
}

func processEnvironment() map[string]string {
	all := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		all[name] = value
	}
	return all
}

// checkDefaults refuses defaults that nothing reads: a misspelt one would have no
// effect, and nobody would see.
func (d Definition) checkDefaults() error {
	known := config.Describe(d.Configs()...)
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(d.Defaults)) {
		if !slices.ContainsFunc(known, func(v config.Variable) bool { return v.Name == name }) {
			problems = append(problems, fmt.Errorf("%s has a default of %s, which it does not read", d.Name, name))
		}
	}
	return errors.Join(problems...)
}
