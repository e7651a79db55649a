// Package flagstest holds flags to what they promise: that they will go.
package flagstest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/flags"
)

// Audit returns all that is wrong with a file of flags: what it lacks, a flag
// past its day, and one that no Go file of source asks for outside its tests.
func Audit(content []byte, source fs.FS, now time.Time) error {
	all, err := flags.Parse(content)
	if err != nil {
		return err
	}
	used, err := literals(source)
	if err != nil {
		return fmt.Errorf("looking for who asks for the flags: %w", err)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		flag := all[name]
		if flag.Expired(now) {
			problems = append(problems, fmt.Errorf("flag %s had to be gone by %s: %s decides it and removes the branch it lost",
				name, flag.Expires.Format(time.DateOnly), flag.Owner))
		}
		if !used[string(name)] {
			problems = append(problems, fmt.Errorf("flag %s is asked for nowhere: remove it", name))
		}
	}
	return errors.Join(problems...)
}

// literals returns every string constant of the Go files of a tree.
func literals(source fs.FS) (map[string]bool, error) {
	found := map[string]bool{}
	err := fs.WalkDir(source, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(source, path)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					found[text] = true
				}
			}
			return true
		})
		return nil
	})
	return found, err
}
