package manifests

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// subject is one thing that somebody may apply.
type subject struct {
	name       string
	overlay    string
	components []string
}

// subjects are every overlay, and every component on overlay rolling. Components
// that are in rolling already would come twice.
func subjects(t *testing.T) []subject {
	t.Helper()
	var all []subject
	for _, overlay := range folders(t, "overlays") {
		all = append(all, subject{name: overlay, overlay: overlay})
	}
	for _, component := range folders(t, "components") {
		if component != "development" && component != "replicated" {
			all = append(all, subject{"rolling with " + component, "rolling", []string{component}})
		}
	}
	return append(all,
		subject{"production with all of it", "production", []string{"observability", "autoscaling", "guaranteed-qos", "canary"}},
		subject{"local with policies", "local", []string{"network-policy", "observability"}},
		subject{"blue-green with policies", "blue-green", []string{"network-policy", "observability", "guaranteed-qos"}},
	)
}

func folders(t *testing.T, kind string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(Root, "deploy", kind))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	require.NotEmpty(t, names)
	return names
}

// built remembers what was built: controls build the same a hundred times.
var built sync.Map

// objects builds a subject and decodes it afresh, so that a test may change it.
func (s subject) objects(t *testing.T) Objects {
	t.Helper()
	documents, ok := built.Load(s.name)
	if !ok {
		dir := filepath.Join(Root, "deploy", "overlays", s.overlay)
		if len(s.components) > 0 {
			dir = t.TempDir()
			require.NoError(t, Compose(dir, s.overlay, s.components...))
		}
		fresh, err := Build(dir)
		require.NoError(t, err)
		built.Store(s.name, fresh)
		documents = fresh
	}
	objects, err := Decode(documents.([][]byte))
	require.NoError(t, err, "every field must be one that Kubernetes knows")
	require.NotEmpty(t, objects)
	return objects
}

// TestEveryOverlayAndComponentKeepsThePromises is the whole of it: each builds,
// decodes strictly and passes every check.
func TestEveryOverlayAndComponentKeepsThePromises(t *testing.T) {
	for _, s := range subjects(t) {
		t.Run(s.name, func(t *testing.T) {
			objects := s.objects(t)
			for _, check := range Checks() {
				for _, problem := range check.Find(objects) {
					t.Errorf("%s: %s", check.Name, problem)
				}
			}
		})
	}
}

func TestAFieldThatKubernetesDoesNotKnowIsRefused(t *testing.T) {
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n"
	for name, c := range map[string]struct{ document, problem string }{
		"a misspelt field":     {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIp: None}\n", `unknown field "spec.clusterIp"`},
		"a field of elsewhere": {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {replicas: 3}\n", `unknown field "spec.replicas"`},
		"a field given twice":  {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nmetadata: {name: b}\n", "already set in map"},
		"a wrong type":         {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: 8080}\n", "cannot unmarshal number"},
		"an unknown kind":      {"apiVersion: v1\nkind: Servise\nmetadata: {name: a}\n", "no kind of v1 that is known here"},
		"an old version":       {"apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n", "no kind of policy/v1beta1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([][]byte{[]byte(c.document)})
			require.ErrorContains(t, err, c.problem)
		})
	}
	_, err := Decode([][]byte{[]byte(service)})
	require.NoError(t, err, "the control of the controls: without the mistake it decodes")
}
