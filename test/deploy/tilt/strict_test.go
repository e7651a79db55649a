package tilt

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The checks above rest on built-ins that refuse what Tilt does not have.
func TestWhatTiltDoesNotHaveIsFound(t *testing.T) {
	for name, c := range map[string]struct{ path, from, to, wants string }{
		"a built-in that does not exist":     {"tilt/buttons.star", "local_resource(", "local_ressource(", "undefined: local_ressource"},
		"an argument that does not exist":    {"tilt/buttons.star", "auto_init = auto_init", "autoinit = auto_init", `local_resource has no argument "autoinit"`},
		"an argument of another built-in":    {"tilt/images.star", "platform =", "links =", `docker_build has no argument "links"`},
		"an argument given twice":            {"tilt/buttons.star", "        name,\n        cmd,", "        name,\n        cmd,\n        name = name,", "twice"},
		"a required argument left out":       {"tilt/buttons.star", "        name,\n        cmd,", "        name,", `local_resource needs "cmd"`},
		"a member that does not exist":       {"Tiltfile", "config.parse()", "config.parsed()", "no .parsed"},
		"a setting that was not defined":     {"Tiltfile", `config.define_string("registry"`, `config.define_string("registri"`, "there is no setting registry"},
		"a workload that is not deployed":    {"tilt/resources.star", `"orders",` + "\n", `"ordres",` + "\n", "there is no workload ordres"},
		"an object that is not deployed":     {"tilt/resources.star", `objects = _configuration(`, `objects = ["nothing:secret"] + _configuration(`, `"nothing:secret" selects 0 objects`},
		"two resources of one name":          {"tilt/buttons.star", `"drain-" + service`, `"drain"`, "two resources drain"},
		"a list where a string belongs":      {"tilt/images.star", `target = target`, `target = [target]`, "target is a string, not a list"},
		"a blob taken for a string":          {"tilt/images.star", `return str(local(`, `return (local(`, "blob has no .strip"},
		"a name that a file does not define": {"Tiltfile", `load("tilt/buttons.star", "buttons")`, `load("tilt/buttons.star", "buttons", "knobs")`, "name knobs not found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := replacing(t, c.path, c.from, c.to)
			s.Settings = map[string]string{"registry": "localhost:5000"}
			_, err := Evaluate(root, s)
			require.ErrorContains(t, err, c.wants)
		})
	}
}

func TestEveryBuiltInHasASignatureAndABehaviour(t *testing.T) {
	behaviours := (&evaluation{}).builtins()
	signed := map[string]bool{}
	for _, s := range parsedSignatures() {
		signed[s.name] = true
		require.Contains(t, behaviours, s.name)
	}
	for name := range behaviours {
		require.True(t, signed[name], "%s has a signature", name)
	}
}
