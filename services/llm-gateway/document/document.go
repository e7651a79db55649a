// Package document reads YAML files that people write by hand: every mistake is
// found at once, and each names the file and the line. Decoding into structs
// would name neither for most of them.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mistake is something that is wrong with a file.
type Mistake struct {
	// File is its name, as it was given.
	File string
	// Line counts from 1; 0 is the file as a whole.
	Line int
	// Message says what is wrong. It never repeats a value that may be secret.
	Message string
}

// Error returns file:line: message, which editors and terminals know to open.
func (m *Mistake) Error() string {
	if m.Line == 0 {
		return m.File + ": " + m.Message
	}
	return m.File + ":" + strconv.Itoa(m.Line) + ": " + m.Message
}

// Document is a file that is being read. It collects what is wrong with it.
type Document struct {
	file     string
	mistakes []*Mistake
}

// MaxSize is how large a file may be, in bytes. Nobody writes as much by hand.
const MaxSize = 1 << 20

// New begins to read a file of this name.
func New(file string) *Document { return &Document{file: file} }

// Err returns all mistakes, joined and in the order of the file; nil if there
// are none. Each is a *[Mistake] to errors.As.
func (d *Document) Err() error {
	slices.SortStableFunc(d.mistakes, func(a, b *Mistake) int { return a.Line - b.Line })
	joined := make([]error, len(d.mistakes))
	for i, m := range d.mistakes {
		joined[i] = m
	}
	return errors.Join(joined...)
}

// Failed says whether anything is wrong so far.
func (d *Document) Failed() bool { return len(d.mistakes) > 0 }

// Mistakes returns how many there are so far.
func (d *Document) Mistakes() int { return len(d.mistakes) }

// Mistakef adds a mistake at a line.
func (d *Document) Mistakef(line int, format string, values ...any) {
	d.mistakes = append(d.mistakes, &Mistake{File: d.file, Line: line, Message: fmt.Sprintf(format, values...)})
}

// syntaxLine is where the parser says that a mistake is.
var syntaxLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// Root parses the file, which must be one document, and returns its top; nil if
// there is none.
func (d *Document) Root(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		d.Mistakef(0, "it has %d bytes; more than %d are not read", len(data), MaxSize)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var top yaml.Node
	switch err := decoder.Decode(&top); {
	case errors.Is(err, io.EOF), err == nil && len(top.Content) == 0:
		d.Mistakef(0, "it is empty: was it cut short?")
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(err)
		return nil
	default:
		d.Mistakef(second.Line, "a second YAML document begins here; one file is one document")
		return nil
	}
	return top.Content[0]
}

func (d *Document) syntax(err error) {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if found := syntaxLine.FindStringSubmatch(message); found != nil {
		line, _ = strconv.Atoi(found[1]) // digits; what does not fit names no line
		message = message[len(found[0]):]
	}
	d.Mistakef(line, "it is not YAML: %s", message)
}

// Field is one member of a mapping.
type Field struct {
	// Read is called with the value, if the file has the field.
	Read func(*yaml.Node)
	// Required says that the file must have it.
	Required bool
}

// Fields reads a mapping of known members, in the order of the file, and says
// whether it is one. Unknown, repeated and missing members are mistakes.
func (d *Document) Fields(node *yaml.Node, what string, fields map[string]Field) bool {
	seen := map[string]bool{}
	ok := d.Entries(node, what, func(key, value *yaml.Node) {
		field, known := fields[key.Value]
		if !known {
			d.Mistakef(key.Line, "%s may not have %q, but only %s", what, key.Value, strings.Join(names(fields), ", "))
			return
		}
		seen[key.Value] = true
		field.Read(value)
	})
	if !ok {
		return false
	}
	for _, name := range names(fields) {
		if fields[name].Required && !seen[name] {
			d.Mistakef(node.Line, "%s has no %q", what, name)
		}
	}
	return true
}

// Entries calls each with the members of a mapping, in the order of the file,
// and says whether it is one. Of members that are repeated the first counts.
func (d *Document) Entries(node *yaml.Node, what string, each func(key, value *yaml.Node)) bool {
	if !d.is(node, yaml.MappingNode, what, "a mapping of names to values") {
		return false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" {
			d.Mistakef(key.Line, "%s has a name that is no text; put it into quotes", what)
			continue
		}
		if line, repeated := first[key.Value]; repeated {
			d.Mistakef(key.Line, "%s has %q twice; it is in line %d already", what, key.Value, line)
			continue
		}
		first[key.Value] = key.Line
		each(key, value)
	}
	return true
}

// Items calls each with the items of a list, and says whether it is one.
func (d *Document) Items(node *yaml.Node, what string, each func(*yaml.Node)) bool {
	if !d.is(node, yaml.SequenceNode, what, "a list") {
		return false
	}
	for _, item := range node.Content {
		each(item)
	}
	return true
}

// is says whether the node is of a kind. Aliases are of none: files of a fixed
// depth need them for nothing, and they let a small file mean a huge one.
func (d *Document) is(node *yaml.Node, kind yaml.Kind, what, wanted string) bool {
	switch {
	case node.Kind == yaml.AliasNode:
		d.Mistakef(node.Line, "%s is an alias, which this file may not have", what)
	case node.Tag == "!!null":
		d.Mistakef(node.Line, "%s has no value; it must be %s", what, wanted)
	case node.Kind != kind:
		d.Mistakef(node.Line, "%s must be %s", what, wanted)
	default:
		return true
	}
	return false
}

func names(fields map[string]Field) []string {
	var found []string
	for name := range fields {
		found = append(found, name)
	}
	slices.Sort(found)
	return found
}
