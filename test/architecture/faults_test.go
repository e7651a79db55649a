package architecture

import (
	"debug/elf"
	"debug/gosym"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// injector begins the names of all functions of the package that injects faults.
const injector = module + "/pkg/faults."

// TestAProductionBinaryCannotInjectFaults looks for the injector in what goes
// into the images, which is built by the images' own script, in an environment
// that asks for fault injection. The functions are read from the table that the
// runtime itself uses, because stripping a binary leaves it.
func TestAProductionBinaryCannotInjectFaults(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "orders")
	build(t, []string{"GOFLAGS=-tags=faults", "VERSION=test", "COMMIT=test"}, "deploy/images/compile", "orders", binary)
	all := functions(t, binary)
	require.Greater(t, len(all), 10_000, "that is no list of all functions")
	require.Contains(t, all, "main.main")
	require.Empty(t, injecting(t, all))
	// All of xDS would come with it: docs/guides/circuit-breakers.md.
	require.False(t, slices.ContainsFunc(all, func(name string) bool { return strings.HasPrefix(name, "google.golang.org/grpc/xds") }),
		"outlier ejection is for those who ask for it")
}

// TestNothingElseIsAskedIntoAnImage: the one tag that the script takes is no way in
// for another.
func TestNothingElseIsAskedIntoAnImage(t *testing.T) {
	for _, tags := range []string{"faults", "outlier,faults", "outlier faults", "e2e"} {
		command := exec.CommandContext(t.Context(), "deploy/images/compile", "orders", filepath.Join(t.TempDir(), "orders"))
		command.Dir = "../.."
		command.Env = append(os.Environ(), "VERSION=test", "COMMIT=test", "HOLDFAST_TAGS="+tags)
		said, err := command.CombinedOutput()
		require.Error(t, err, tags)
		require.Contains(t, string(said), "HOLDFAST_TAGS is "+tags)
	}
}

// TestADevelopmentBinaryCan is the control: the same look finds the injector
// where it is.
func TestADevelopmentBinaryCan(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "orders")
	build(t, nil, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "faults", "-ldflags", "-s -w", "-o", binary, "./services/orders/cmd/orders")
	require.Contains(t, injecting(t, functions(t, binary)), injector+"(*Injector).unary")
}

// TestWhatIsDeployedOrReleasedIsBuiltByTheScript that the test above looks at.
func TestWhatIsDeployedOrReleasedIsBuiltByTheScript(t *testing.T) {
	for _, file := range []string{"deploy/images/Dockerfile", "tools/images", ".github/workflows/release.yml"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		require.NoError(t, err)
		require.Regexp(t, `compile "\$\w+" |deploy/images/compile `, string(text), file)
		for _, other := range []string{"go build", "make bin/"} {
			require.NotContains(t, string(text), other, file)
		}
	}
}

// build runs a command that builds a Linux binary as images have one.
func build(t *testing.T, environment []string, name string, args ...string) {
	t.Helper()
	for _, folder := range []string{"pkg", "services", "proto", "deploy/images"} {
		// Go repeats the result of a test whose files are as they were. It sees
		// those that the test looks at, not those that the compiler reads.
		require.NoError(t, filepath.WalkDir(filepath.Join("../..", folder), func(_ string, _ fs.DirEntry, err error) error { return err }))
	}
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = "../.."
	command.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), environment...)
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// injecting are the functions of the injector but for those of off.go, which is
// all that a production binary may have of it.
func injecting(t *testing.T, functions []string) (found []string) {
	t.Helper()
	off, err := parser.ParseFile(token.NewFileSet(), "../../pkg/faults/off.go", nil, 0)
	require.NoError(t, err)
	var inert []string
	for _, declared := range off.Decls {
		if f, ok := declared.(*ast.FuncDecl); ok && f.Recv != nil {
			inert = append(inert, injector+"(*Injector)."+f.Name.Name)
		} else if ok {
			inert = append(inert, injector+f.Name.Name)
		}
	}
	for _, name := range functions {
		// A function literal, and a method made a value, count as what they are of.
		of, _, _ := strings.Cut(name, ".func")
		of, _, _ = strings.Cut(of, "-fm")
		if strings.HasPrefix(name, injector) && !slices.Contains(inert, of) {
			found = append(found, name)
		}
	}
	return found
}

// functions are the names of all functions of a binary.
func functions(t *testing.T, binary string) (names []string) {
	t.Helper()
	file, err := elf.Open(binary)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	table, err := file.Section(".gopclntab").Data()
	require.NoError(t, err)
	parsed, err := gosym.NewTable(nil, gosym.NewLineTable(table, file.Section(".text").Addr))
	require.NoError(t, err)
	for _, f := range parsed.Funcs {
		names = append(names, f.Name)
	}
	return names
}
