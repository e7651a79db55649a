package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	ast "github.com/pganalyze/pg_query_go/v6"
	parser "github.com/wasilibs/go-pgquery"
)

// statement is one SQL statement and what stands before it.
type statement struct {
	node    *ast.Node
	line    int
	comment string
}

// upSection returns the part of a goose migration that production ever runs,
// the line it begins at, and whether goose wraps it in a transaction.
func upSection(source string) (up string, first int, atomic bool, err error) {
	atomic = true
	number, within := 0, false
	var kept strings.Builder
	for line := range strings.Lines(source) {
		number++
		directive, ok := strings.CutPrefix(strings.TrimSpace(line), "-- +goose ")
		switch {
		case ok && directive == "NO TRANSACTION":
			atomic = false
		case ok && directive == "Up":
			within, first = true, number
			continue
		case ok && directive == "Down":
			within = false
		case ok && strings.HasPrefix(directive, "ENVSUB"):
			return "", 0, false, errors.New("a migration must be the same everywhere: no ENVSUB")
		}
		if within {
			kept.WriteString(line)
		}
	}
	if first == 0 {
		return "", 0, false, errors.New("there is no `-- +goose Up`")
	}
	return kept.String(), first + 1, atomic, nil
}

// parse splits SQL into statements with the parser of PostgreSQL 17.
func parse(sql string, firstLine int) ([]statement, error) {
	tree, err := parser.Parse(sql)
	if err != nil {
		return nil, err
	}
	var statements []statement
	for _, raw := range tree.GetStmts() {
		text := sql[raw.GetStmtLocation():]
		if raw.GetStmtLen() > 0 {
			text = text[:raw.GetStmtLen()]
		}
		comment, body := leadingComment(text)
		begin := int(raw.GetStmtLocation()) + len(text) - len(body)
		statements = append(statements, statement{
			node: raw.GetStmt(), comment: comment,
			line: firstLine + strings.Count(sql[:begin], "\n"),
		})
	}
	return statements, nil
}

// leadingComment splits off the lines of comment before a statement.
func leadingComment(text string) (comment, body string) {
	body = text
	for {
		body = strings.TrimLeft(body, " \t\r\n")
		if !strings.HasPrefix(body, "--") {
			return comment, body
		}
		line, rest, _ := strings.Cut(body, "\n")
		comment, body = comment+line+"\n", rest
	}
}

// block is what a DO block does.
type block struct {
	statements []statement
	dynamic    bool // it builds statements at run time, which nobody can check
	commits    bool
}

func readBlock(do *ast.DoStmt, line int) (block, error) {
	source, err := parser.Deparse(&ast.ParseResult{Stmts: []*ast.RawStmt{
		{Stmt: &ast.Node{Node: &ast.Node_DoStmt{DoStmt: do}}},
	}})
	if err != nil {
		return block{}, fmt.Errorf("the DO block: %w", err)
	}
	encoded, err := parser.ParsePlPgSqlToJSON(source)
	if err != nil {
		return block{}, fmt.Errorf("the DO block: %w", err)
	}
	var tree any
	if err := json.Unmarshal([]byte(encoded), &tree); err != nil {
		return block{}, fmt.Errorf("the DO block: %w", err)
	}
	var (
		read    block
		queries []string
	)
	walk(tree, func(kind string, fields map[string]any) {
		switch kind {
		case "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors":
			read.dynamic = true
		case "PLpgSQL_stmt_commit":
			read.commits = true
		case "PLpgSQL_expr":
			// Mode 0 is a whole statement; the others are expressions.
			if mode, _ := fields["parseMode"].(float64); mode == 0 {
				query, _ := fields["query"].(string)
				queries = append(queries, query)
			}
		}
	})
	for _, query := range queries {
		parsed, err := parse(query, line)
		if err != nil {
			return block{}, fmt.Errorf("the DO block: %w", err)
		}
		read.statements = append(read.statements, parsed...)
	}
	return read, nil
}

// walk visits every object of a JSON tree that has one key, its kind.
func walk(value any, visit func(kind string, fields map[string]any)) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			walk(element, visit)
		}
	case map[string]any:
		for key, inner := range v {
			if fields, ok := inner.(map[string]any); ok {
				visit(key, fields)
			}
			walk(inner, visit)
		}
	}
}
