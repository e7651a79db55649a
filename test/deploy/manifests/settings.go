package manifests

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// variable is one environment variable that a service reads.
type variable struct {
	fallback string
	secret   bool
}

// variables are those of one service, by name.
type variables map[string]variable

// packagesOf says where the settings of a service are declared.
func packagesOf(service string) []string {
	own := "services/" + service
	everyone := []string{own, "pkg/service", "pkg/telemetry", "pkg/auth", "pkg/resources", "pkg/postgres", "pkg/ratelimit"}
	switch service {
	case "sandbox":
		return []string{own, "pkg/resources"}
	case "llm-gateway": // its ledger has keys of its own
		return everyone
	default:
		return append(everyone, "pkg/idempotency", "pkg/flags")
	}
}

var readAlready sync.Map

// variablesOf reads the settings of a service, with their defaults, from the
// struct tags in its source: a copy of them here could drift.
func variablesOf(service string) (variables, error) {
	if known, ok := readAlready.Load(service); ok {
		return known.(variables), nil
	}
	known := variables{}
	for _, dir := range packagesOf(service) {
		err := eachFile(dir+"/*.go", func(file *ast.File) {
			ast.Inspect(file, func(node ast.Node) bool {
				if field, ok := node.(*ast.Field); ok && field.Tag != nil {
					text, _ := strconv.Unquote(field.Tag.Value) // it was parsed
					tag := reflect.StructTag(text)
					if name, ok := tag.Lookup("env"); ok {
						known[name] = variable{fallback: tag.Get("envDefault"), secret: tag.Get("secret") == "true"}
					}
				}
				return true
			})
		})
		if err != nil {
			return nil, err
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no settings of %s found", service)
	}
	readAlready.Store(service, known)
	return known, nil
}

// migrationPool reads how many connections a migration holds at most.
func migrationPool() (int, error) {
	found := 0
	err := eachFile("pkg/postgres/migrate.go", func(file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			assign, ok := node.(*ast.AssignStmt)
			if !ok || len(assign.Lhs) != 1 {
				return true
			}
			target, isField := assign.Lhs[0].(*ast.SelectorExpr)
			value, isLiteral := assign.Rhs[0].(*ast.BasicLit)
			if isField && isLiteral && target.Sel.Name == "MaxConns" {
				n, _ := strconv.Atoi(value.Value)
				found = max(found, n)
			}
			return true
		})
	})
	if err == nil && found == 0 {
		err = errors.New("how many connections a migration holds is not said in pkg/postgres/migrate.go any more")
	}
	return found, err
}

// longestRoute reads how long a generation may take by the routes that are built into
// llm-gateway: what they say, or else what a route is that says nothing.
func longestRoute() (time.Duration, error) {
	var longest time.Duration
	err := eachFile("services/llm-gateway/routes/parse_route.go", func(file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			field, ok := node.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			name, isName := field.Key.(*ast.Ident)
			product, isProduct := field.Value.(*ast.BinaryExpr)
			if isName && isProduct && name.Name == "Total" {
				number, _ := product.X.(*ast.BasicLit)
				unit, _ := product.Y.(*ast.SelectorExpr)
				if number != nil && unit != nil && unit.Sel.Name == "Minute" {
					n, _ := strconv.Atoi(number.Value)
					longest = time.Duration(n) * time.Minute
				}
			}
			return true
		})
	})
	if err == nil && longest == 0 {
		err = errors.New("how long a route may take is not said in services/llm-gateway/routes/parse_route.go any more")
	}
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(Root, "services/llm-gateway/builtin/routes.yaml"))
	if err != nil {
		return 0, err
	}
	type settings struct{ Timeouts struct{ Total string } }
	var file struct {
		Defaults settings
		Routes   []settings
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return 0, fmt.Errorf("routes.yaml: %w", err)
	}
	for _, route := range append(file.Routes, file.Defaults) {
		if route.Timeouts.Total == "" {
			continue
		}
		total, err := time.ParseDuration(route.Timeouts.Total)
		if err != nil {
			return 0, fmt.Errorf("routes.yaml: %w", err)
		}
		longest = max(longest, total)
	}
	return longest, nil
}

// eachFile parses the platform's Go files that match, tests left out.
func eachFile(pattern string, visit func(*ast.File)) error {
	paths, err := filepath.Glob(filepath.Join(Root, pattern))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no Go files match %s: %w", pattern, fs.ErrNotExist)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		visit(file)
	}
	return nil
}

// environment is what a container's process finds set, as far as the manifests
// say it in words: values that are references are empty.
func environment(objects Objects, container *corev1.Container) map[string]string {
	set := map[string]string{}
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef == nil {
			continue
		}
		if config := named[*corev1.ConfigMap](objects, from.ConfigMapRef.Name); config != nil {
			for name, value := range config.Data {
				set[name] = value
			}
		}
	}
	for _, env := range container.Env {
		set[env.Name] = env.Value
	}
	return set
}

// settings answers what a workload's process will read: what is set, or else
// the default in its source.
type settings struct {
	known variables
	set   map[string]string
}

func (w workload) settings(objects Objects) (settings, error) {
	known, err := variablesOf(w.service())
	return settings{known: known, set: environment(objects, w.container())}, err
}

// value is empty for a setting that the service does not have.
func (s settings) value(name string) string {
	if value, ok := s.set[name]; ok {
		return value
	}
	return s.known[name].fallback
}

// duration is zero for a setting that the service does not have.
func (s settings) duration(name string) (time.Duration, error) {
	if _, ok := s.known[name]; !ok {
		return 0, nil
	}
	d, err := time.ParseDuration(s.value(name))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}
