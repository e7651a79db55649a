package tilt

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// signatures are the built-ins that the Tiltfile may use and the arguments of
// each, in order, from Tilt's API reference (https://docs.tilt.dev/api.html). An
// argument with a question mark may be left out. To use another built-in, add its
// line here and what it does to builtins.
const signatures = `
allow_k8s_contexts             contexts
config.define_bool             name args? usage?
config.define_string           name args? usage?
config.define_string_list      name args? usage?
config.parse
config.set_enabled_resources   resources
decode_yaml_stream             yaml
default_registry               host host_from_cluster? single_name?
docker_build                   ref context build_args? dockerfile? dockerfile_contents? live_update? match_in_env_vars? ignore? only? entrypoint? target? ssh? network? secret? extra_tag? container_args? cache_from? pull? platform? extra_hosts?
fail                           msg
k8s_context
k8s_resource                   workload? new_name? port_forwards? extra_pod_selectors? trigger_mode? resource_deps? objects? auto_init? pod_readiness? links? labels? discovery_strategy?
k8s_yaml                       yaml allow_duplicates?
kustomize                      pathToDir kustomize_bin? flags?
link                           url name
local                          command quiet? command_bat? echo_off? env? dir? stdin?
local_resource                 name cmd deps? trigger_mode? resource_deps? ignore? auto_init? serve_cmd? cmd_bat? serve_cmd_bat? allow_parallel? links? labels? env? serve_env? readiness_probe? dir? serve_dir?
port_forward                   local_port container_port? name? link_path? host?
secret_settings                disable_scrub?
`

// signature is one line of signatures.
type signature struct {
	name       string
	parameters []string // with a question mark if optional
}

func parsedSignatures() []signature {
	var all []signature
	for line := range strings.Lines(strings.TrimSpace(signatures)) {
		fields := strings.Fields(line)
		all = append(all, signature{fields[0], fields[1:]})
	}
	return all
}

// arguments are those of one call, by name.
type arguments map[string]starlark.Value

// bind gives the arguments of a call their names. An unknown one, one that is
// given twice, and a required one that is missing are errors.
func (s signature) bind(args starlark.Tuple, kwargs []starlark.Tuple) (arguments, error) {
	builtin, parameters := s.name, s.parameters
	bound := arguments{}
	if len(args) > len(parameters) {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", builtin, len(parameters), len(args))
	}
	for i, value := range args {
		bound[strings.TrimSuffix(parameters[i], "?")] = value
	}
	for _, pair := range kwargs {
		name, _ := starlark.AsString(pair[0])
		if !slices.Contains(parameters, name) && !slices.Contains(parameters, name+"?") {
			return nil, fmt.Errorf("%s has no argument %q", builtin, name)
		}
		if _, twice := bound[name]; twice {
			return nil, fmt.Errorf("%s is given %q twice", builtin, name)
		}
		bound[name] = pair[1]
	}
	for _, name := range parameters {
		if _, given := bound[name]; !given && !strings.HasSuffix(name, "?") {
			return nil, fmt.Errorf("%s needs %q", builtin, name)
		}
	}
	return bound, nil
}

// text returns a string argument, empty if it was not given.
func (a arguments) text(name string) (string, error) {
	switch value := a[name].(type) {
	case nil:
		return "", nil
	case starlark.String:
		return string(value), nil
	default:
		return "", fmt.Errorf("%s is a string, not a %s", name, value.Type())
	}
}

// texts returns a list of strings. Where Tilt takes one string for a list of one,
// so does this.
func (a arguments) texts(name string) ([]string, error) {
	switch value := a[name].(type) {
	case nil:
		return nil, nil
	case starlark.String:
		return []string{string(value)}, nil
	case *starlark.List:
		var all []string
		for element := range value.Elements() {
			one, ok := starlark.AsString(element)
			if !ok {
				return nil, fmt.Errorf("%s is a list of strings, and holds a %s", name, element.Type())
			}
			all = append(all, one)
		}
		return all, nil
	default:
		return nil, fmt.Errorf("%s is a list of strings, not a %s", name, value.Type())
	}
}

// number returns an integer argument, 0 if it was not given.
func (a arguments) number(name string) (int, error) {
	value, given := a[name]
	if !given {
		return 0, nil
	}
	n, err := starlark.AsInt32(value)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// truth returns a boolean argument.
func (a arguments) truth(name string, otherwise bool) (bool, error) {
	switch value := a[name].(type) {
	case nil:
		return otherwise, nil
	case starlark.Bool:
		return bool(value), nil
	default:
		return false, fmt.Errorf("%s is a bool, not a %s", name, value.Type())
	}
}
