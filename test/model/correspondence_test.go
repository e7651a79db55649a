package model

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryStepNamesCodeThatExists reads the comments of this package: a model
// of code that has gone proves nothing about the code that is there.
func TestEveryStepNamesCodeThatExists(t *testing.T) {
	exists := map[string]bool{}
	for name, folder := range map[string]string{
		"idempotency": "pkg/idempotency", "payments": "services/payments", "orders": "services/orders",
	} {
		for _, declared := range declarations(t, filepath.Join("../..", folder)) {
			exists[name+"."+declared] = true
		}
	}
	require.True(t, exists["idempotency.Attempt.Complete"] && exists["payments.Processor.Lookup"], "that is no list of the code")
	require.False(t, exists["idempotency.Attempt.Incomplete"])

	steps := 0
	for _, f := range functions(t, ".") {
		if !emits(f) {
			continue
		}
		steps++
		names, ok := codeOf(f)
		require.True(t, ok, "the comment of %s does not say `Code: …`", f.Name.Name)
		for _, name := range names {
			require.True(t, exists[name], "%s stands for %s, which is not there", f.Name.Name, name)
		}
	}
	require.Greater(t, steps, 12, "that are not all the steps")
}

// emits reports whether a function makes steps itself, rather than asking others.
func emits(f *ast.FuncDecl) bool {
	made := false
	ast.Inspect(f, func(n ast.Node) bool {
		if c, ok := n.(*ast.CompositeLit); ok {
			if id, ok := c.Type.(*ast.Ident); ok && id.Name == "Step" {
				made = true
			}
		}
		return true
	})
	return made
}

var code = regexp.MustCompile(`(?s)\nCode: (.*)\.\n$`)

func codeOf(f *ast.FuncDecl) (names []string, ok bool) {
	m := code.FindStringSubmatch(f.Doc.Text())
	if m == nil {
		return nil, false
	}
	if m[1] == "none" {
		return nil, true
	}
	return strings.Split(strings.Join(strings.Fields(m[1]), " "), ", "), true
}

// declarations are the functions, methods, types and methods of interfaces of a
// package, as Name or Type.Name.
func declarations(t *testing.T, folder string) (names []string) {
	t.Helper()
	for _, f := range functions(t, folder) {
		name := f.Name.Name
		if f.Recv != nil {
			name = receiver(f.Recv.List[0].Type) + "." + name
		}
		names = append(names, name)
	}
	inspect(t, folder, func(n ast.Node) {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return
		}
		names = append(names, spec.Name.Name)
		if i, ok := spec.Type.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				for _, name := range m.Names {
					names = append(names, spec.Name.Name+"."+name.Name)
				}
			}
		}
	})
	return names
}

func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func functions(t *testing.T, folder string) (all []*ast.FuncDecl) {
	t.Helper()
	inspect(t, folder, func(n ast.Node) {
		if f, ok := n.(*ast.FuncDecl); ok {
			all = append(all, f)
		}
	})
	return all
}

// inspect visits what a package declares, its tests left out.
func inspect(t *testing.T, folder string, visit func(ast.Node)) {
	t.Helper()
	files, err := fs.Glob(os.DirFS(folder), "*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, name), nil, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}
