package manifests

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	if service == "sandbox" {
		return []string{own, "pkg/resources"}
	}
	return []string{own, "pkg/service", "pkg/telemetry", "pkg/auth", "pkg/resources", "pkg/postgres", "pkg/idempotency", "pkg/flags"}
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
