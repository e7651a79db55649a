package auth

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Time cannot be measured well enough to tell on a busy machine, so these read
// the source instead: what compares a secret, and that it always runs.

func TestSecretsAreComparedInConstantTime(t *testing.T) {
	require.Equal(t, "return subtle.ConstantTimeCompare(sum[:], e.hash[:]) == 1", lastStatement(t, "key.go", "matches"))
}

func TestAnUnknownIdTakesAsLongAsAWrongSecret(t *testing.T) {
	body := source(t, "keyset.go", "Verify")
	require.Contains(t, body, "if !e.matches(secret) || !found {", "the comparison comes first, or an unknown id would skip it")
	require.Equal(t, 1, strings.Count(body, "matches("))
}

func function(t *testing.T, file, name string) (*token.FileSet, *ast.FuncDecl) {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, 0)
	require.NoError(t, err)
	for _, declaration := range parsed.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Name.Name == name {
			return files, f
		}
	}
	t.Fatalf("%s has no function %s", file, name)
	return nil, nil
}

func source(t *testing.T, file, name string) string {
	t.Helper()
	files, f := function(t, file, name)
	var b strings.Builder
	require.NoError(t, format.Node(&b, files, f))
	return b.String()
}

func lastStatement(t *testing.T, file, name string) string {
	t.Helper()
	files, f := function(t, file, name)
	var b strings.Builder
	require.NoError(t, format.Node(&b, files, f.Body.List[len(f.Body.List)-1]))
	return b.String()
}
