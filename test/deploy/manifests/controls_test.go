package manifests

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// control is a mistake that one check must find in manifests that are right.
type control struct {
	mistake string
	overlay string // rolling if empty
	with    string // a component
	make    func(Objects)
	problem string // part of what the check must say
}

// controls has the mistakes for each check, by its name.
var controls = []map[string][]control{securityControls, timeControls, capacityControls, releaseControls, changeControls, networkControls}

// TestEveryCheckFindsTheMistakesItIsFor makes each mistake in a build that
// passes, and wants it found. A check without controls fails: nobody knows
// whether it can.
func TestEveryCheckFindsTheMistakesItIsFor(t *testing.T) {
	known := map[string]bool{}
	for _, check := range Checks() {
		known[check.Name] = true
		var mine []control
		for _, group := range controls {
			mine = append(mine, group[check.Name]...)
		}
		t.Run(check.Name, func(t *testing.T) {
			require.NotEmpty(t, mine, "this check has no control")
			for _, c := range mine {
				t.Run(c.mistake, func(t *testing.T) {
					s := subject{name: "rolling", overlay: "rolling"}
					if c.overlay != "" {
						s.name, s.overlay = c.overlay, c.overlay
					}
					if c.with != "" {
						s.name, s.components = s.overlay+" with "+c.with, []string{c.with}
					}
					objects := s.objects(t)
					require.Empty(t, check.Find(objects), "without the mistake")
					c.make(objects)
					found := check.Find(objects)
					require.Contains(t, strings.Join(found, "\n"), c.problem)
				})
			}
		})
	}
	for _, group := range controls {
		for name := range group {
			require.True(t, known[name], "controls for a check that does not exist: %s", name)
		}
	}
}

// The manifests' parts that controls change. A table's functions have no test to
// fail, so what is missing panics: the table is out of date, and nothing else.

func deployment(objects Objects, name string) *appsv1.Deployment {
	found := named[*appsv1.Deployment](objects, name)
	if found == nil {
		panic("there is no Deployment " + name)
	}
	return found
}

func podOf(objects Objects, name string) *corev1.PodSpec {
	return &deployment(objects, name).Spec.Template.Spec
}

func containerOf(objects Objects, name string) *corev1.Container {
	return &podOf(objects, name).Containers[0]
}

func service(objects Objects, name string) *corev1.Service {
	found := named[*corev1.Service](objects, name)
	if found == nil {
		panic("there is no Service " + name)
	}
	return found
}

// config is the ConfigMap of a service's settings, whatever its hash.
func config(objects Objects, name string) *corev1.ConfigMap {
	for _, c := range all[*corev1.ConfigMap](objects) {
		if strings.HasPrefix(c.Name, name) {
			return c
		}
	}
	panic("there is no ConfigMap " + name)
}

// remove empties an object's place: the rest of the objects stay as they were.
func remove(objects Objects, gone metav1.Object) {
	for i, object := range objects {
		if object == gone {
			objects[i] = new(corev1.Namespace) // of a kind that the check does not look for
			objects[i].SetName(Namespace)
			return
		}
	}
	panic("not among the objects: " + gone.GetName())
}

func pointer[T any](value T) *T { return &value }
