// Package claims holds what Holdfast says of itself to what it can show.
//
// docs/claims.yaml is a ledger: each claim names the tests that prove it, and
// the controls that show the proofs can fail. The checks of this package fail on
// a claim whose proof or control does not exist, and, given the results of a
// test run, on one that did not run or did not pass.
package claims

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// module is the prefix of package names in test results.
const module = "github.com/holdfast-dev/holdfast/"

// Status says what a claim rests on.
type Status string

// The statuses. A claim that is NotRunHere needs what not every machine has;
// its proof exists all the same.
const (
	Proven            Status = "proven"
	StaticallyChecked Status = "statically checked"
	NotRunHere        Status = "not run here"
)

// Claim is one entry of the ledger.
type Claim struct {
	// ID is what README and docs cite.
	ID string `yaml:"id"`
	// Sentence is the claim.
	Sentence string `yaml:"sentence"`
	Status   Status `yaml:"status"`
	// Needs is what its tests cannot do without: docker or cluster. Empty for Go
	// alone.
	Needs string `yaml:"needs"`
	// Proof holds if the claim is true.
	Proof []Evidence `yaml:"proof"`
	// Control breaks what the claim rests on and holds if the proof then fails.
	Control []Evidence `yaml:"control"`
}

// Evidence is something that can be run.
type Evidence struct {
	// Test is a Go test as `folder.TestName`, with `/subtest` if it is one.
	Test string `yaml:"test"`
	// Run is the command with which a person sees the same, if there is one.
	Run string `yaml:"run"`
}

// Read reads a ledger. Unknown fields are errors: a misspelt `control` would
// otherwise be a claim without one.
func Read(r io.Reader) ([]Claim, error) {
	var ledger struct {
		Claims []Claim `yaml:"claims"`
	}
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	if err := decoder.Decode(&ledger); err != nil {
		return nil, fmt.Errorf("read the claims: %w", err)
	}
	if len(ledger.Claims) == 0 {
		return nil, errors.New("read the claims: there are none")
	}
	return ledger.Claims, nil
}

var idPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// CheckForm reports everything that is wrong with the ledger itself or with
// what it refers to in the tree at root.
func CheckForm(claims []Claim, root string) error {
	var errs []error
	seen := map[string]bool{}
	for _, c := range claims {
		problem := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("claim %q: "+format, append([]any{c.ID}, args...)...))
		}
		if !idPattern.MatchString(c.ID) || seen[c.ID] {
			problem("the id must be kebab-case and unique")
		}
		seen[c.ID] = true
		if !strings.HasSuffix(strings.TrimSpace(c.Sentence), ".") {
			problem("the sentence must be one")
		}
		if !slices.Contains([]Status{Proven, StaticallyChecked, NotRunHere}, c.Status) {
			problem("unknown status %q", c.Status)
		}
		if !slices.Contains([]string{"", "docker", "cluster"}, c.Needs) {
			problem("unknown need %q", c.Needs)
		}
		if len(c.Proof) == 0 || len(c.Control) == 0 {
			problem("it needs a proof and a control")
		}
		for _, evidence := range slices.Concat(c.Proof, c.Control) {
			if err := evidence.exists(root); err != nil {
				problem("%w", err)
			}
		}
	}
	return errors.Join(errs...)
}

// exists looks for the test and the drill in the sources.
func (e Evidence) exists(root string) error {
	folder, test, ok := e.split()
	if !ok {
		return fmt.Errorf("test %q is not of the form folder.TestName", e.Test)
	}
	found, err := declares(filepath.Join(root, folder), test)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("there is no %s in %s", test, folder)
	}
	return e.drillExists()
}

// split returns the folder and the top-level test.
func (e Evidence) split() (folder, test string, ok bool) {
	folder, test, ok = strings.Cut(e.Test, ".Test")
	test, _, _ = strings.Cut("Test"+test, "/") // a subtest is found inside it when it runs
	return folder, test, ok
}

func declares(folder, test string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return false, fmt.Errorf("look for tests: %w", err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return false, fmt.Errorf("look for tests: %w", err)
		}
		for _, declaration := range parsed.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == test {
				return true, nil
			}
		}
	}
	return false, nil
}

// drillExists checks a command of the form `holdfast drill NAME [--sabotage …]`.
func (e Evidence) drillExists() error {
	rest, ok := strings.CutPrefix(e.Run, "holdfast drill ")
	if !ok {
		return nil
	}
	words := strings.Fields(rest)
	if len(words) == 0 {
		return fmt.Errorf("%q names no drill", e.Run)
	}
	if len(drill.Sabotages(words[0])) == 0 { // every drill has some
		return fmt.Errorf("there is no drill %q", words[0])
	}
	if at := slices.Index(words, "--sabotage"); at >= 0 {
		if at+1 == len(words) {
			return fmt.Errorf("%q names no sabotage", e.Run)
		}
		if _, err := drill.ParseSabotage(words[0], words[at+1]); err != nil {
			return err
		}
	}
	return nil
}

// Results are how tests ended, by `folder.TestName`.
type Results map[string]string

// ReadResults reads what `go test -json` printed. A test that ran several times
// counts as failed if any of them failed.
func ReadResults(r io.Reader) (Results, error) {
	results := Results{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue // the build's own words
		}
		var event struct{ Action, Package, Test string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("read the test results: %w", err)
		}
		if event.Test == "" || !slices.Contains([]string{"pass", "fail", "skip"}, event.Action) {
			continue
		}
		name := strings.TrimPrefix(event.Package, module) + "." + event.Test
		if results[name] != "fail" {
			results[name] = event.Action
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the test results: %w", err)
	}
	return results, nil
}

// CheckRan reports every proof and control that did not run or did not pass. A
// claim that is not run here is not asked for, nor one that needs what the
// machine does not have.
func CheckRan(claims []Claim, results Results, has ...string) error {
	var errs []error
	for _, c := range claims {
		if c.Status == NotRunHere || c.Needs != "" && !slices.Contains(has, c.Needs) {
			continue
		}
		for _, evidence := range slices.Concat(c.Proof, c.Control) {
			// The testing package writes a subtest's name without spaces.
			switch ended := results[strings.ReplaceAll(evidence.Test, " ", "_")]; ended {
			case "pass":
			case "":
				errs = append(errs, fmt.Errorf("claim %q: %s did not run", c.ID, evidence.Test))
			default:
				errs = append(errs, fmt.Errorf("claim %q: %s ended with %s", c.ID, evidence.Test, ended))
			}
		}
	}
	return errors.Join(errs...)
}

// CheckCitations reports every claim that a document cites as `claim:ID` and that the
// ledger does not have.
func CheckCitations(claims []Claim, root string) error {
	known := map[string]bool{}
	for _, c := range claims {
		known[c.ID] = true
	}
	citation := regexp.MustCompile(`claim:([a-z0-9-]+)`)
	var errs []error
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range citation.FindAllSubmatch(text, -1) {
			if !known[string(match[1])] {
				errs = append(errs, fmt.Errorf("%s cites claim:%s, which the ledger does not have", path, match[1]))
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}
