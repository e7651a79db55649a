package tilt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyLocalClustersAndNamedOnesAreTouched(t *testing.T) {
	const registry = "localhost:5000"
	for name, c := range map[string]struct {
		context  string
		settings map[string]string
		refused  string   // part of the one line that says why; empty if it is allowed
		allows   []string // contexts that Tilt's own check is told to let pass
		registry string
	}{
		"kind":            {context: "kind-kind"},
		"a named kind":    {context: "kind-holdfast"},
		"k3d":             {context: "k3d-dev"},
		"Docker Desktop":  {context: "docker-desktop"},
		"minikube":        {context: "minikube"},
		"Rancher Desktop": {context: "rancher-desktop"},
		"Colima":          {context: "colima"},
		"a Colima profile": {
			context: "colima-work",
		},
		"OrbStack":              {context: "orbstack"},
		"local with a registry": {context: "kind-kind", settings: map[string]string{"registry": registry}, registry: registry},
		"named, with a registry": {
			context:  "homelab.example.com",
			settings: map[string]string{"allow-context": "homelab.example.com", "registry": registry},
			allows:   []string{"homelab.example.com"}, registry: registry,
		},

		"production":                {context: "arn:aws:eks:eu-central-1:1:cluster/production", refused: "--allow-context="},
		"a name that only contains": {context: "production-kind-1", refused: "--allow-context="},
		"a name that only begins":   {context: "minikube-but-remote", refused: "--allow-context="},
		"no context":                {context: "", refused: "no Kubernetes context"},
		"another one was named":     {context: "production", settings: map[string]string{"allow-context": "homelab", "registry": registry}, refused: "--allow-context=production"},
		"named, without a registry": {context: "homelab", settings: map[string]string{"allow-context": "homelab"}, refused: "--registry="},
	} {
		t.Run(name, func(t *testing.T) {
			s := upOnKind()
			s.Context, s.Settings = c.context, c.settings
			p, err := Evaluate(root, s)
			if c.refused == "" {
				require.NoError(t, err)
				require.Equal(t, c.allows, p.AllowedContexts)
				require.Equal(t, c.registry, p.Registry)
				return
			}
			require.ErrorContains(t, err, c.refused)
			message, _, _ := strings.Cut(err.Error(), "\n")
			require.Contains(t, message, c.refused, "it is one line")
			require.Empty(t, p.Commands, "nothing was asked of a cluster that is refused")
			require.Empty(t, p.Resources)
			require.Empty(t, p.AllowedContexts)
		})
	}
}

func TestACheckThatIsLeftOutLetsProductionIn(t *testing.T) {
	s := replacing(t, "Tiltfile", "require_context(k8s_context()", "print(k8s_context()")
	s.Context = "production"
	p := plan(t, s)
	require.NotEmpty(t, p.Commands, "the check is what keeps Tilt off")
}
