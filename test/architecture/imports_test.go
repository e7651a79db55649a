// Package architecture holds the tree to its own rules. It has tests only.
package architecture

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/holdfast-dev/holdfast"

// packageImports is what the rules look at: a package's path inside the module
// and what it imports, its tests included.
type packageImports struct {
	path    string
	imports []string
}

// violations says where a package breaks the rules of import:
// services meet in protos and over the wire; pkg knows no service; only the
// command and the tests that cross services may know several; failsafe-go is
// composed in one place.
func violations(p packageImports) []string {
	var found []string
	broken := func(imported, why string) {
		found = append(found, fmt.Sprintf("%s imports %s: %s", p.path, imported, why))
	}
	var services []string
	for _, full := range p.imports {
		if strings.HasPrefix(full, "github.com/failsafe-go/") && !within(p.path, "pkg/resilience") {
			broken(full, "failsafe-go is composed in pkg/resilience only")
		}
		imported, inside := strings.CutPrefix(full, module+"/")
		if !inside {
			continue
		}
		service := serviceOf(imported)
		if service != "" && !slices.Contains(services, service) {
			services = append(services, service)
		}
		switch {
		case within(p.path, "pkg") && (within(imported, "services") || within(imported, "cmd") || within(imported, "test")):
			broken(imported, "pkg is what services share and knows none of them")
		case serviceOf(p.path) != "" && service != "" && service != serviceOf(p.path):
			broken(imported, "services meet in protos and over the wire")
		case within(p.path, "services") && (within(imported, "cmd") || within(imported, "test")):
			broken(imported, "a service knows neither the command nor the tests that cross services")
		case within(p.path, "proto") && !within(imported, "proto"):
			broken(imported, "protos import protos only")
		}
	}
	if len(services) > 1 && !within(p.path, "cmd/holdfast") && !within(p.path, "test") {
		broken(strings.Join(services, ", "), "only cmd/holdfast and test may know several services")
	}
	return found
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func serviceOf(path string) string {
	rest, ok := strings.CutPrefix(path, "services/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestImportsFollowTheRules(t *testing.T) {
	packages := list(t)
	require.Greater(t, len(packages), 10, "the list of packages is too short to be the whole tree")
	for _, p := range packages {
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
}

// TestEachRuleCanFail is the control: a package that breaks each rule is found.
func TestEachRuleCanFail(t *testing.T) {
	for name, p := range map[string]packageImports{
		"service imports service":     {"services/orders", []string{module + "/services/payments"}},
		"pkg imports service":         {"pkg/service", []string{module + "/services/orders"}},
		"pkg imports test":            {"pkg/service", []string{module + "/test/load"}},
		"service imports command":     {"services/orders", []string{module + "/cmd/holdfast"}},
		"several services elsewhere":  {"tilt/x", []string{module + "/services/orders", module + "/services/payments"}},
		"failsafe outside resilience": {"services/orders", []string{"github.com/failsafe-go/failsafe-go"}},
		"proto imports pkg":           {"proto/openapi", []string{module + "/pkg/policy"}},
	} {
		require.Len(t, violations(p), 1, name)
	}
	require.Empty(t, violations(packageImports{"cmd/holdfast", []string{module + "/services/orders", module + "/services/payments"}}))
	require.Empty(t, violations(packageImports{"services/orders/cmd/orders", []string{module + "/services/orders"}}))
}

// domainFiles hold types and transitions, and must be readable by someone who
// has never seen gRPC or pgx.
var domainFiles = []string{"order.go", "catalogue.go", "payment.go", "ledger.go"}

func TestDomainFilesImportNeitherGRPCNorPostgres(t *testing.T) {
	checked := 0
	for _, name := range domainFiles {
		files, err := filepath.Glob("../../services/*/" + name)
		require.NoError(t, err)
		for _, file := range files {
			checked++
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				if !domainMayImport(path) {
					t.Errorf("%s imports %s: the domain does no I/O", file, path)
				}
			}
		}
	}
	require.GreaterOrEqual(t, checked, 2, "no domain file found: the list is out of date")
	require.False(t, domainMayImport("google.golang.org/grpc/codes"))
	require.False(t, domainMayImport("github.com/jackc/pgx/v5"))
	require.True(t, domainMayImport(module+"/pkg/money"))
}

func domainMayImport(path string) bool {
	for _, banned := range []string{
		"google.golang.org/grpc", "github.com/jackc/pgx", "net/http", "database/sql",
		module + "/pkg/postgres", module + "/pkg/service", module + "/proto",
	} {
		if within(path, banned) {
			return false
		}
	}
	return true
}

func list(t *testing.T) []packageImports {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var packages []packageImports
	for decoder := json.NewDecoder(out); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		packages = append(packages, packageImports{
			path:    strings.TrimPrefix(p.ImportPath, module+"/"),
			imports: slices.Concat(p.Imports, p.TestImports, p.XTestImports),
		})
	}
	require.NoError(t, cmd.Wait())
	return packages
}
