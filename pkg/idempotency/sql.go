package idempotency

import (
	"fmt"
	"strconv"
	"strings"
)

// token is a piece of SQL: a word, a parameter, or one other character.
// Comments, strings and quoted names are single tokens, so that nothing inside
// them is taken for a keyword or a parameter.
type token struct {
	text  string
	start int
	kind  tokenKind
}

type tokenKind int

const (
	tokenOther tokenKind = iota
	tokenWord
	tokenParameter
)

func (t token) end() int { return t.start + len(t.text) }

func (t token) is(words ...string) bool {
	if t.kind != tokenWord {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

// tokenize splits SQL; white space and comments are left out.
func tokenize(sql string) []token {
	var tokens []token
	for i := 0; i < len(sql); {
		n, kind := lexeme(sql[i:])
		text := sql[i : i+n]
		if strings.TrimSpace(text) != "" && !strings.HasPrefix(text, "--") && !strings.HasPrefix(text, "/*") {
			tokens = append(tokens, token{text: text, start: i, kind: kind})
		}
		i += n
	}
	return tokens
}

// lexeme returns the length and the kind of what s begins with.
func lexeme(s string) (int, tokenKind) {
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		return until(s, 2, "\n"), tokenOther
	case strings.HasPrefix(s, "/*"):
		return until(s, 2, "*/"), tokenOther
	case c == '\'' || c == '"':
		return until(s, 1, string(c)), tokenOther
	case c == '$':
		n := 1 + span(s[1:], isDigit)
		if n > 1 {
			return n, tokenParameter
		}
		if tag := 1 + span(s[1:], isWordByte); tag < len(s) && s[tag] == '$' {
			return until(s, tag+1, s[:tag+1]), tokenOther
		}
		return 1, tokenOther
	case isWordByte(c) && !isDigit(c):
		n := span(s, isWordByte)
		if n == 1 && (c == 'E' || c == 'e') && len(s) > 1 && s[1] == '\'' {
			return escapeString(s), tokenOther
		}
		return n, tokenWord
	default:
		return 1, tokenOther
	}
}

// until returns the length of s up to and with the end mark, searched from the
// given offset; all of s if there is none.
func until(s string, from int, mark string) int {
	if i := strings.Index(s[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(s)
}

func escapeString(s string) int {
	for i := 2; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '\'':
			return i + 1
		}
	}
	return len(s)
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordByte(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// shiftParameters adds by to the number of every parameter.
func shiftParameters(sql string, by int) string {
	var b strings.Builder
	last := 0
	for _, t := range tokenize(sql) {
		if t.kind != tokenParameter {
			continue
		}
		n, err := strconv.Atoi(t.text[1:])
		if err != nil {
			continue // too long a number: Postgres will refuse it
		}
		b.WriteString(sql[last:t.start])
		b.WriteString("$" + strconv.Itoa(n+by))
		last = t.end()
	}
	b.WriteString(sql[last:])
	return b.String()
}

// part is one common table expression, or the statement after them.
type part struct {
	name   string // of the CTE; empty for the statement after them
	header string // "name (columns) AS MATERIALIZED"
	body   string
	tokens []token // of body, starting at 0
}

// modifies reports whether the part writes.
func (p part) modifies() bool {
	return len(p.tokens) > 0 && p.tokens[0].is("INSERT", "UPDATE", "DELETE", "MERGE")
}

// returning is the body with a RETURNING clause, without which SQL cannot count
// what it wrote.
func (p part) returning() string {
	depth := 0
	for _, t := range p.tokens {
		switch {
		case t.text == "(":
			depth++
		case t.text == ")":
			depth--
		case depth == 0 && t.is("RETURNING"):
			return p.body
		}
	}
	return p.body + "\nRETURNING 1"
}

// mentions reports whether the part uses one of the names.
func (p part) mentions(names ...string) bool {
	for _, t := range p.tokens {
		if t.is(names...) {
			return true
		}
	}
	return false
}

// parseParts splits a statement, or a bare list of CTEs, into its parts.
func parseParts(sql string) ([]part, error) {
	tokens := tokenize(sql)
	for len(tokens) > 0 && tokens[len(tokens)-1].text == ";" {
		tokens = tokens[:len(tokens)-1]
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("empty statement")
	}
	sql = sql[:tokens[len(tokens)-1].end()]
	if tokens[0].is("INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "VALUES") {
		return []part{newPart("", "", sql[tokens[0].start:])}, nil
	}
	i := 0
	if tokens[0].is("WITH") {
		i++
	}
	var parts []part
	for {
		open, closing, err := cteBody(tokens, i)
		if err != nil {
			return nil, err
		}
		header := sql[tokens[i].start:tokens[open].start]
		parts = append(parts, newPart(tokens[i].text, header, sql[tokens[open].end():tokens[closing].start]))
		i = closing + 1
		switch {
		case i == len(tokens):
			return parts, nil
		case tokens[i].text == ",":
			i++
		default:
			return append(parts, newPart("", "", sql[tokens[i].start:])), nil
		}
	}
}

func newPart(name, header, body string) part {
	body = strings.TrimSpace(body)
	return part{name: name, header: header, body: body, tokens: tokenize(body)}
}

// cteBody finds the parentheses around the body of the CTE that starts at i.
func cteBody(tokens []token, i int) (open, closing int, err error) {
	if i >= len(tokens) || tokens[i].kind != tokenWord {
		return 0, 0, fmt.Errorf("expected INSERT, WITH, or a list of `name AS (…)`")
	}
	as := i + 1
	for as < len(tokens) && !tokens[as].is("AS") {
		as++
	}
	open = as + 1
	for open < len(tokens) && tokens[open].is("NOT", "MATERIALIZED") {
		open++
	}
	if open >= len(tokens) || tokens[open].text != "(" {
		return 0, 0, fmt.Errorf("expected `%s AS (…)`", tokens[i].text)
	}
	depth := 0
	for closing = open; closing < len(tokens); closing++ {
		switch tokens[closing].text {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth == 0 {
			return open, closing, nil
		}
	}
	return 0, 0, fmt.Errorf("`%s` is not closed", tokens[i].text)
}
