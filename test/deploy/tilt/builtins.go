package tilt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.yaml.in/yaml/v3"
)

type behaviour func(arguments) (starlark.Value, error)

// builtins is what each of Tilt's built-ins does, as far as the plan shows it.
func (e *evaluation) builtins() map[string]behaviour {
	return map[string]behaviour{
		"allow_k8s_contexts": e.allowContexts,
		"decode_yaml_stream": decodeStream,
		"default_registry":   e.registry,
		"docker_build":       e.dockerBuild,
		"fail":               failWith,
		"k8s_context":        func(arguments) (starlark.Value, error) { return starlark.String(e.situation.Context), nil },
		"k8s_resource":       e.clusterResource,
		"k8s_yaml":           e.clusterObjects,
		"kustomize":          e.kustomize,
		"link": func(a arguments) (starlark.Value, error) {
			url, err := a.text("url")
			return constant{"link", url}, err
		},
		"local":           e.local,
		"local_resource":  e.localResource,
		"port_forward":    portForward,
		"secret_settings": func(arguments) (starlark.Value, error) { return starlark.None, nil },

		"config.define_bool":           e.define,
		"config.define_string":         e.define,
		"config.define_string_list":    e.define,
		"config.parse":                 e.parse,
		"config.set_enabled_resources": e.enable,
	}
}

func failWith(a arguments) (starlark.Value, error) {
	message, err := a.text("msg")
	if err != nil {
		return nil, err
	}
	return nil, errors.New(message)
}

func (e *evaluation) allowContexts(a arguments) (starlark.Value, error) {
	names, err := a.texts("contexts")
	e.plan.AllowedContexts = append(e.plan.AllowedContexts, names...)
	return starlark.None, err
}

func (e *evaluation) registry(a arguments) (starlark.Value, error) {
	host, err := a.text("host")
	e.plan.Registry = host
	return starlark.None, err
}

func (e *evaluation) define(a arguments) (starlark.Value, error) {
	name, err := a.text("name")
	e.settings = append(e.settings, name)
	return starlark.None, err
}

func (e *evaluation) parse(arguments) (starlark.Value, error) {
	parsed := starlark.NewDict(len(e.situation.Settings))
	for name, value := range e.situation.Settings {
		if !slices.Contains(e.settings, name) {
			return nil, fmt.Errorf("there is no setting %s", name)
		}
		if err := parsed.SetKey(starlark.String(name), starlark.String(value)); err != nil {
			return nil, err
		}
	}
	return parsed, nil
}

func (e *evaluation) enable(a arguments) (starlark.Value, error) {
	var err error
	e.plan.Only, err = a.texts("resources")
	return starlark.None, err
}

func (e *evaluation) local(a arguments) (starlark.Value, error) {
	command, err := a.texts("command")
	if err != nil {
		return nil, err
	}
	e.plan.Commands = append(e.plan.Commands, command)
	output, err := e.situation.Local(command)
	return blob(output), err
}

func (e *evaluation) kustomize(a arguments) (starlark.Value, error) {
	path, err := a.text("pathToDir")
	if err != nil {
		return nil, err
	}
	manifests, err := e.situation.Render(path)
	return blob(manifests), err
}

func (e *evaluation) clusterObjects(a arguments) (starlark.Value, error) {
	if manifests, ok := a["yaml"].(blob); ok {
		return starlark.None, e.plan.addObjects(string(manifests))
	}
	// A string is the path of a file.
	path, err := a.text("yaml")
	if err != nil {
		return nil, err
	}
	manifests, err := os.ReadFile(filepath.Join(e.root, path))
	if err != nil {
		return nil, err
	}
	return starlark.None, e.plan.addObjects(string(manifests))
}

func decodeStream(a arguments) (starlark.Value, error) {
	var all []starlark.Value
	for document := range strings.SplitSeq(a["yaml"].String(), "\n---\n") {
		var decoded map[string]any
		if err := yaml.Unmarshal([]byte(document), &decoded); err != nil {
			return nil, err
		}
		all = append(all, values(decoded))
	}
	return starlark.NewList(all), nil
}

func (e *evaluation) dockerBuild(a arguments) (starlark.Value, error) {
	var image Image
	var errs [6]error
	image.Name, errs[0] = a.text("ref")
	image.Context, errs[1] = a.text("context")
	image.Dockerfile, errs[2] = a.text("dockerfile")
	image.Target, errs[3] = a.text("target")
	image.Platform, errs[4] = a.text("platform")
	image.Only, errs[5] = a.texts("only")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	image.BuildArgs = map[string]string{}
	if given, ok := a["build_args"].(*starlark.Dict); ok {
		for _, pair := range given.Items() {
			name, _ := starlark.AsString(pair[0])
			image.BuildArgs[name], _ = starlark.AsString(pair[1])
		}
	}
	_, image.LiveUpdate = a["live_update"]
	_, image.Entrypoint = a["entrypoint"]
	if _, twice := e.plan.Images[image.Name]; twice {
		return nil, fmt.Errorf("%s is built twice", image.Name)
	}
	e.plan.Images[image.Name] = image
	return starlark.None, nil
}

func (e *evaluation) localResource(a arguments) (starlark.Value, error) {
	r := &Resource{}
	var err, more error
	if r.Name, err = a.text("name"); err != nil {
		return nil, err
	}
	if e.plan.Resources[r.Name] != nil {
		return nil, fmt.Errorf("there are two resources %s", r.Name)
	}
	e.plan.Resources[r.Name] = r
	r.Command, err = a.texts("cmd")
	r.Watches, more = a.texts("deps")
	return starlark.None, errors.Join(err, more, r.configure(a))
}

func (e *evaluation) clusterResource(a arguments) (starlark.Value, error) {
	workload, err := a.text("workload")
	if err != nil {
		return nil, err
	}
	name, err := a.text("new_name")
	if err != nil {
		return nil, err
	}
	r := e.plan.Resources[workload]
	switch {
	case workload == "" && name == "":
		return nil, errors.New("needs a workload, or a new_name")
	case workload == "" && e.plan.Resources[name] != nil, name != "" && workload != name && e.plan.Resources[name] != nil:
		return nil, fmt.Errorf("there are two resources %s", name)
	case workload == "":
		r = &Resource{Name: name}
	case r == nil || r.Workload == nil:
		return nil, fmt.Errorf("there is no workload %s", workload)
	case name != "":
		delete(e.plan.Resources, workload)
		r.Name = name
	}
	e.plan.Resources[r.Name] = r
	r.configured = true

	selectors, err := a.texts("objects")
	if err != nil {
		return nil, err
	}
	for _, selector := range selectors {
		o, err := e.plan.find(selector)
		if err != nil {
			return nil, err
		}
		r.Objects = append(r.Objects, o.ID())
	}
	return starlark.None, r.configure(a)
}

// configure reads the arguments that resources of both kinds have.
func (r *Resource) configure(a arguments) error {
	var errs [4]error
	r.DependsOn, errs[0] = a.texts("resource_deps")
	r.Labels, errs[1] = a.texts("labels")
	r.AutoInit, errs[2] = a.truth("auto_init", true)
	r.Manual = a["trigger_mode"] == starlark.Value(constant{"trigger mode", "manual"})
	for value := range elements(a["port_forwards"]) {
		forward, ok := value.(constant)
		if !ok || forward.kind != "port forward" {
			errs[3] = errors.New("port_forwards are made with port_forward(), which can name the host")
			continue
		}
		r.Forwards = append(r.Forwards, forward.of.(Forward))
	}
	for value := range elements(a["links"]) {
		if l, ok := value.(constant); ok && l.kind == "link" {
			r.Links = append(r.Links, fmt.Sprint(l.of))
		}
	}
	return errors.Join(errs[:]...)
}

// elements iterates over a list, or over nothing.
func elements(value starlark.Value) func(func(starlark.Value) bool) {
	if list, ok := value.(*starlark.List); ok {
		return list.Elements()
	}
	return func(func(starlark.Value) bool) {}
}

func portForward(a arguments) (starlark.Value, error) {
	var f Forward
	var errs [3]error
	f.Local, errs[0] = a.number("local_port")
	f.Container, errs[1] = a.number("container_port")
	f.Host, errs[2] = a.text("host")
	return constant{"port forward", f}, errors.Join(errs[:]...)
}
