package tilt

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Plan is what a Tiltfile asks of Tilt.
type Plan struct {
	Resources map[string]*Resource
	Images    map[string]Image // by name, without a tag
	Objects   []Object         // all that goes into the cluster

	AllowedContexts []string   // contexts that may be used although they look remote
	Registry        string     // where images are pushed, if not loaded
	Commands        [][]string // what ran while the Tiltfile was evaluated
	Only            []string   // resources to start; empty means all
}

// Resource is a line of Tilt's page: objects in the cluster, or a command here.
type Resource struct {
	Name      string
	Workload  *Object  // nil for a command, and for objects that run nothing
	Objects   []string // what else belongs to it, as name:kind
	Command   []string
	Watches   []string // what makes the command run again
	DependsOn []string
	Labels    []string
	Manual    bool // runs again when told to
	AutoInit  bool // runs at the start
	Forwards  []Forward
	Links     []string

	configured bool // by k8s_resource, not only found in the manifests
}

// Forward brings a container's port to this machine.
type Forward struct {
	Host             string
	Local, Container int
}

// Image is one that Tilt builds.
type Image struct {
	Name, Context, Dockerfile, Target, Platform string
	BuildArgs                                   map[string]string
	Only                                        []string
	LiveUpdate                                  bool
	Entrypoint                                  bool // that of the Dockerfile is replaced
}

// Object is a Kubernetes object of the overlay, as far as Tilt looks at it.
type Object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Spec struct {
		Selector map[string]any // of a Service; Deployments nest theirs
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []struct {
					Name, Image string
					Ports       []struct {
						ContainerPort int `yaml:"containerPort"`
					}
				}
			}
		}
	}
}

// ID is how an object is named in a selector: name:kind.
func (o Object) ID() string { return o.Metadata.Name + ":" + strings.ToLower(o.Kind) }

// IsWorkload tells whether Tilt makes a resource of it.
func (o Object) IsWorkload() bool { return len(o.Spec.Template.Spec.Containers) > 0 }

// Selects tells whether o is a Service and its selector matches a workload's pods.
func (o Object) Selects(workload Object) bool {
	if o.Kind != "Service" || len(o.Spec.Selector) == 0 {
		return false
	}
	for key, value := range o.Spec.Selector {
		if workload.Spec.Template.Metadata.Labels[key] != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// Unclaimed returns the objects that belong to no resource. Tilt deploys them
// under "uncategorized", where nothing can wait for them.
func (p *Plan) Unclaimed() []string {
	var unclaimed []string
	for _, o := range p.Objects {
		claimed := false
		for _, r := range p.Resources {
			claimed = claimed || slices.Contains(r.Objects, o.ID()) ||
				r.Workload != nil && (r.Workload.ID() == o.ID() || o.Selects(*r.Workload))
		}
		if !claimed {
			unclaimed = append(unclaimed, o.ID())
		}
	}
	return unclaimed
}

// Unconfigured returns the workloads that no call of k8s_resource names: they
// start at once, wait for nothing, and have no label.
func (p *Plan) Unconfigured() []string {
	var found []string
	for _, r := range p.Resources {
		if r.Workload != nil && !r.configured {
			found = append(found, r.Workload.ID())
		}
	}
	slices.Sort(found)
	return found
}

// Dangling returns the dependencies on resources that do not exist, each as
// "resource waits for missing".
func (p *Plan) Dangling() []string {
	var found []string
	for _, r := range p.Resources {
		for _, name := range r.DependsOn {
			if p.Resources[name] == nil {
				found = append(found, r.Name+" waits for "+name)
			}
		}
	}
	slices.Sort(found)
	return found
}

// addObjects reads a stream of manifests and makes a resource of each workload.
func (p *Plan) addObjects(manifests string) error {
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var o Object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			return err
		}
		if o.Kind == "" {
			continue
		}
		p.Objects = append(p.Objects, o)
		if o.IsWorkload() {
			if p.Resources[o.Metadata.Name] != nil {
				return fmt.Errorf("two workloads are named %s", o.Metadata.Name)
			}
			p.Resources[o.Metadata.Name] = &Resource{Name: o.Metadata.Name, Workload: &o, AutoInit: true}
		}
	}
	return nil
}

// find returns the object that a selector (name, name:kind or name:kind:namespace)
// names. None, and more than one, are errors, as they are with Tilt.
func (p *Plan) find(selector string) (Object, error) {
	parts := strings.SplitN(selector, ":", 3)
	var found []Object
	for _, o := range p.Objects {
		if o.Metadata.Name == parts[0] &&
			(len(parts) < 2 || strings.EqualFold(o.Kind, parts[1])) &&
			(len(parts) < 3 || o.Metadata.Namespace == parts[2]) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		return Object{}, fmt.Errorf("%q selects %d objects", selector, len(found))
	}
	return found[0], nil
}
