package tilt

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const root = "../../.."

// services are those whose images Tilt builds.
var services = []string{"llm-gateway", "orders", "payments", "sandbox"}

// overlay is the one that Tilt deploys, rendered once.
var overlay = sync.OnceValues(func() (string, error) {
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
		Run(filesys.MakeFsOnDisk(), filepath.Join(root, "deploy/overlays/local"))
	if err != nil {
		return "", err
	}
	text, err := rendered.AsYaml()
	return string(text), err
})

// upOnKind is `tilt up` on a kind cluster.
func upOnKind() Situation {
	return Situation{
		Context:    "kind-dev",
		Subcommand: "up",
		Local: func(command []string) (string, error) {
			switch line := strings.Join(command, " "); {
			case strings.Contains(line, " get nodes "):
				return "arm64\n", nil
			case strings.Contains(line, " delete namespace "):
				return "", nil
			default:
				return "", fmt.Errorf("nobody expects %q", line)
			}
		},
		Render: func(path string) (string, error) {
			if path != "deploy/overlays/local" {
				return "", fmt.Errorf("there is no overlay %s for Tilt", path)
			}
			return overlay()
		},
	}
}

func plan(t *testing.T, s Situation) *Plan {
	t.Helper()
	p, err := Evaluate(root, s)
	require.NoError(t, err)
	return p
}

// replacing returns a situation in which a text of a file was replaced. The text
// must be there, or the control would change nothing and prove nothing.
func replacing(t *testing.T, path, from, to string) Situation {
	t.Helper()
	s := upOnKind()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	require.Contains(t, string(text), from, "the control changes what is there")
	s.Edit = func(file, text string) string {
		if file == path {
			return strings.ReplaceAll(text, from, to)
		}
		return text
	}
	return s
}

func TestEveryObjectBelongsToAResourceThatIsLabelled(t *testing.T) {
	p := plan(t, upOnKind())
	require.Empty(t, p.Unclaimed(), "nothing can wait for what is uncategorized")
	require.Empty(t, p.Unconfigured())
	for name, r := range p.Resources {
		require.Len(t, r.Labels, 1, "%s is in one group", name)
		require.Contains(t, []string{"build", "infrastructure", "jobs", "services", "buttons"}, r.Labels[0], name)
	}
	workloads := 0
	for _, o := range p.Objects {
		if o.IsWorkload() {
			workloads++
		}
	}
	require.GreaterOrEqual(t, workloads, 8, "four services, Postgres, three migrations")
}

func TestAWorkloadThatNobodyConfiguredIsFound(t *testing.T) {
	s := upOnKind()
	s.Render = func(string) (string, error) {
		manifests, err := overlay()
		return manifests + `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: forgotten, namespace: holdfast}
spec: {template: {spec: {containers: [{name: forgotten, image: forgotten:dev}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: nobodys, namespace: holdfast}
spec: {selector: {app: nobody}}
`, err
	}
	p := plan(t, s)
	require.Equal(t, []string{"forgotten:deployment"}, p.Unconfigured())
	require.Equal(t, []string{"nobodys:service"}, p.Unclaimed())
}

func TestResourcesWaitForWhatTheyNeed(t *testing.T) {
	p := plan(t, upOnKind())
	require.Empty(t, p.Dangling())
	require.Nil(t, p.Cycle())
	for resource, needs := range map[string][]string{
		"postgres":            {"configuration"},
		"orders-migrate":      {"postgres", "compile"},
		"payments-migrate":    {"postgres", "compile"},
		"llm-gateway-migrate": {"postgres", "compile"},
		"sandbox":             {"configuration", "compile"},
		"payments":            {"payments-migrate", "sandbox"},
		"llm-gateway":         {"llm-gateway-migrate", "sandbox"},
		"orders":              {"orders-migrate", "payments", "llm-gateway", "postgres"},
		"smoke":               {"orders"},
	} {
		require.NotNil(t, p.Resources[resource], resource)
		before := p.Before(resource)
		for _, need := range needs {
			require.True(t, before[need], "%s waits for %s", resource, need)
		}
	}
	// Who waits for a resource that starts only when told to waits for ever.
	for name, r := range p.Resources {
		for _, need := range r.DependsOn {
			require.True(t, p.Resources[need].AutoInit, "%s starts by itself, %s needs it", need, name)
		}
	}
}

func TestAMissingDependencyIsFound(t *testing.T) {
	p := plan(t, replacing(t, "tilt/resources.star", `"payments-migrate", "sandbox"`, `"payments-migration", "sandbox"`))
	require.Equal(t, []string{"payments waits for payments-migration"}, p.Dangling())
}

func TestACycleIsFound(t *testing.T) {
	p := plan(t, replacing(t, "tilt/resources.star", `["payments-migrate", "sandbox"]`, `["payments-migrate", "orders"]`))
	require.Equal(t, []string{"orders", "payments", "orders"}, p.Cycle())
}

func TestPortsAreOnLoopbackAndLeadToAContainer(t *testing.T) {
	p := plan(t, upOnKind())
	taken := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(p.Resources)) {
		r := p.Resources[name]
		for _, f := range r.Forwards {
			require.Equal(t, "127.0.0.1", f.Host, name)
			require.Empty(t, taken[f.Local], "%s and %s want port %d", taken[f.Local], name, f.Local)
			taken[f.Local] = name
			// The admin port listens on the pod's loopback, so no manifest names it.
			declared := []int{8082}
			for _, c := range r.Workload.Spec.Template.Spec.Containers {
				for _, port := range c.Ports {
					declared = append(declared, port.ContainerPort)
				}
			}
			require.Contains(t, declared, f.Container, name)
		}
		for _, link := range r.Links {
			require.True(t, strings.HasPrefix(link, "http://127.0.0.1:"), link)
		}
	}
	require.Equal(t, "orders", taken[8080], "where the README's examples send their requests")
}

func TestAPortOnEveryAddressIsFound(t *testing.T) {
	p := plan(t, replacing(t, "tilt/resources.star", `host = "127.0.0.1"`, `host = "0.0.0.0"`))
	require.Equal(t, "0.0.0.0", p.Resources["orders"].Forwards[0].Host)
}

func TestEveryImageIsTheOneThatProductionRuns(t *testing.T) {
	p := plan(t, upOnKind())
	dockerfile, err := os.ReadFile(filepath.Join(root, "deploy/images/Dockerfile"))
	require.NoError(t, err)

	deployed := map[string]bool{}
	for _, o := range p.Objects {
		for _, c := range o.Spec.Template.Spec.Containers {
			if name, _, _ := strings.Cut(c.Image, ":"); strings.HasPrefix(name, "holdfast/") {
				deployed[name] = true
			}
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(deployed)), slices.Collect(maps.Keys(p.Images)), "built is what is deployed")

	for name, image := range p.Images {
		service := strings.TrimPrefix(name, "holdfast/")
		require.Equal(t, "deploy/images/Dockerfile", image.Dockerfile)
		require.Regexp(t, `(?m)^FROM .* AS `+image.Target+`$`, string(dockerfile), "the target exists")
		require.Equal(t, service, image.BuildArgs["SERVICE"])
		require.Equal(t, "linux/arm64", image.Platform, "the CPU of the nodes, not of this machine")
		require.Contains(t, image.Only, "bin/linux-arm64/"+service)
		for _, path := range image.Only {
			require.NotContains(t, path, "*", "Tilt takes no patterns here")
		}
		require.False(t, image.LiveUpdate, "%s: nothing can be synced into an image without tar", name)
		require.False(t, image.Entrypoint, "%s: what runs is what ships", name)
	}
}

func TestALiveUpdateIsFound(t *testing.T) {
	p := plan(t, replacing(t, "tilt/images.star", `target = target,`, `target = target, live_update = [],`))
	require.True(t, p.Images["holdfast/orders"].LiveUpdate)
}

func TestACommandsScriptIsThereAndCanRun(t *testing.T) {
	for name, r := range plan(t, upOnKind()).Resources {
		if r.Command == nil || !strings.Contains(r.Command[0], "/") {
			continue
		}
		info, err := os.Stat(filepath.Join(root, r.Command[0]))
		require.NoError(t, err, name)
		require.NotZero(t, info.Mode()&0o111, "%s can be executed", r.Command[0])
	}
}

// What a service is compiled from is asked of Go: a package outside of what Tilt
// watches could be edited for hours without anything happening.
func TestEveryPackageOfAServiceIsWatched(t *testing.T) {
	p := plan(t, upOnKind())
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{.ImportPath}}{{end}}{{end}}")
	for _, service := range services {
		list.Args = append(list.Args, "./services/"+service+"/cmd/"+service)
	}
	list.Dir = root
	list.Stderr = os.Stderr
	output, err := list.Output()
	require.NoError(t, err)
	packages := strings.Fields(string(output))
	require.Greater(t, len(packages), 10)
	for _, path := range packages {
		path = strings.TrimPrefix(path, "github.com/holdfast-dev/holdfast/")
		require.True(t, slices.ContainsFunc(p.Resources["compile"].Watches, func(watched string) bool {
			return path == watched || strings.HasPrefix(path, watched+"/")
		}), "%s is watched", path)
	}
	for _, watched := range p.Resources["compile"].Watches {
		require.FileExists(t, existing(filepath.Join(root, watched)), "%s is watched", watched)
	}
}

// existing returns a file at or under path, or path itself if there is none.
func existing(path string) string {
	found := path
	_ = filepath.WalkDir(path, func(file string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = file
			return filepath.SkipAll
		}
		return nil
	})
	return found
}

func TestButtonsWaitToBeClicked(t *testing.T) {
	up := upOnKind()
	ci := upOnKind()
	ci.Subcommand = "ci"
	for name, r := range plan(t, up).Resources {
		if r.Labels[0] == "buttons" {
			require.True(t, r.Manual, name)
			require.False(t, r.AutoInit, name)
		}
	}
	for name, r := range plan(t, ci).Resources {
		if r.Labels[0] == "buttons" {
			require.Equal(t, name == "smoke", r.AutoInit, "%s: nobody clicks in CI, and it must not drain", name)
		}
	}
}

func TestDownTakesTheNamespaceWithItAndNothingElseDoes(t *testing.T) {
	down := upOnKind()
	down.Subcommand = "down"
	deletes := func(s Situation) bool {
		return slices.ContainsFunc(plan(t, s).Commands, func(command []string) bool { return slices.Contains(command, "delete") })
	}
	require.True(t, deletes(down))
	require.False(t, deletes(upOnKind()))
	for _, o := range plan(t, upOnKind()).Objects {
		require.True(t, o.Metadata.Namespace == "holdfast" || o.Kind == "Namespace", "%s goes with the namespace", o.ID())
	}
	for _, command := range plan(t, down).Commands {
		require.Equal(t, []string{"kubectl", "--context", "kind-dev"}, command[:3], "the cluster that was checked, whatever the current context becomes")
	}
}
