package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Finding is one place where a migration breaks a rule.
type Finding struct {
	File string
	Line int // from 1; 0 if it is about the whole file
	Rule string
	Text string
}

// String is the finding as compilers print theirs.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, max(f.Line, 1), f.Rule, f.Text)
}

// Rules are the names of all rules, with what each protects.
var Rules = map[string]string{
	"syntax":         "what Postgres cannot parse fails when it is deployed",
	"drop":           "the release that serves while the migration runs uses it",
	"rename":         "the release that serves while the migration runs knows it by its old name",
	"contract":       "a drop is safe one release after the one that stopped using the thing",
	"column-type":    "a new type rewrites the table, or breaks statements that are prepared already",
	"set-not-null":   "the whole table is read under an exclusive lock",
	"add-column":     "the table is rewritten, or the old release's INSERT fails",
	"index":          "every write waits while the index is built",
	"constraint":     "every row is checked while nobody can write",
	"lock":           "everybody waits for as long as it takes",
	"one-lock":       "who holds one lock and waits for another makes everybody wait twice",
	"timeout":        "what waits for a lock makes everybody behind it wait",
	"whole-table":    "rows stay locked, and dead rows stay, until all of it is done",
	"no-transaction": "what was done stays when the rest fails, and must bear being done again",
	"dynamic-sql":    "nobody can read what it does before it is done",
	"unknown":        "no rule says that it is safe",
	"order":          "a database that has a later migration never gets it",
	"unrecorded":     "migrations.sum is how a change of it would be noticed",
	"changed":        "databases that have it keep the old form",
	"deleted":        "databases have it and always will",
}

// Lint returns what is wrong with the migrations at the root of fsys and with
// their migrations.sum. What a later migration may rely on, such as a validated
// constraint, is known from the earlier ones.
func Lint(fsys fs.FS) ([]Finding, error) {
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fs.ErrNotExist
	}
	past, err := readHistory(fsys)
	if err != nil {
		return nil, err
	}
	findings, err := past.compare(fsys, names)
	if err != nil {
		return nil, err
	}
	known, columns := constraints{}, map[string]string{}
	for _, name := range names {
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		file := &file{name: name, past: past, known: known, columns: columns, created: map[string]bool{}}
		findings = append(findings, file.lint(string(source))...)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return strings.Compare(a.File, b.File)
	})
	return findings, nil
}

// file is one migration while it is read from top to bottom.
type file struct {
	name     string
	past     history
	known    constraints
	columns  map[string]string // added later than their table, and by which file
	created  map[string]bool   // tables, and whatever else, that begin in this file
	dropped  map[string]bool   // indexes that a former, failed run may have left
	atomic   bool              // it runs in one transaction
	locked   string            // the table whose lock that transaction holds
	line     int               // of the statement that is looked at
	comment  string            // what stands before it
	inDo     bool              // it is part of a DO block or of another statement
	batched  bool              // of a DO block that commits as it goes
	findings []Finding
}

func (f *file) lint(source string) []Finding {
	f.dropped = map[string]bool{}
	up, first, atomic, err := upSection(source)
	if err != nil {
		f.line = 1
		f.report("syntax", "%v", err)
		return f.findings
	}
	f.atomic = atomic
	statements, err := parse(up, first)
	if err != nil {
		f.line = first
		f.report("syntax", "%v", err)
		return f.findings
	}
	for _, s := range statements {
		f.line, f.comment = s.line, s.comment
		f.statement(s.node)
	}
	return f.findings
}

func (f *file) report(rule, format string, args ...any) {
	if Rules[rule] == "" {
		panic("migrationlint: no rule " + rule)
	}
	f.findings = append(f.findings, Finding{f.name, f.line, rule, fmt.Sprintf(format, args...)})
}

// holds notes a lock that shuts out readers or writers of a table that others
// use, and reports a second one in the same transaction.
func (f *file) holds(table string) {
	if f.created[table] || !f.atomic {
		return
	}
	if f.locked != "" && f.locked != table {
		f.report("one-lock", "this waits for %s while it holds the lock on %s: give each a migration of its own", table, f.locked)
	}
	f.locked = table
}
