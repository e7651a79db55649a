package workflows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}

func TestWorkflowsArePinnedBoundedAndCallWhatExists(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github/workflows/*.yml"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 4)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			faults, err := Faults(string(text), read(t, "Makefile"))
			require.NoError(t, err)
			require.Empty(t, faults)
		})
	}
}

func TestAWorkflowThatIsSpoiltIsFound(t *testing.T) {
	ci := read(t, ".github/workflows/ci.yml")
	for name, c := range map[string]struct{ from, to, wants string }{
		"an action by tag":             {"actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "actions/checkout@v7", "not pinned"},
		"a commit without its release": {" # v7.0.1", "", "not pinned"},
		"permission to write":          {"contents: read", "contents: write", "permissions are not"},
		"all permissions":              {"permissions:\n  contents: read", "permissions: write-all", "permissions are not"},
		"permissions left out":         {"permissions:\n  contents: read", "", "permissions are not"},
		"no end":                       {"timeout-minutes: 20", "name: lint", "no timeout"},
		"runs pile up":                 {"group:", "groop:", "no concurrency group"},
		"a token left behind":          {"persist-credentials: false", "persist-credentials: true", "leaves its token"},
		"a target that is not there":   {"make lint", "make lnit", "make knows no lnit"},
		"text of others in a script":   {"run: make lint", "run: make lint ${{ github.head_ref }}", "text that others may choose"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, ci, c.from, "the control changes what is there")
			faults, err := Faults(strings.ReplaceAll(ci, c.from, c.to), read(t, "Makefile"))
			require.NoError(t, err)
			require.Contains(t, strings.Join(faults, "\n"), c.wants)
		})
	}
}
