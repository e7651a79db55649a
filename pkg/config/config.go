// Package config reads configuration from the environment, and says what there
// is to configure.
//
// Every package has one Config struct whose fields carry tags:
//
//	env:"HOLDFAST_…"    the variable
//	envDefault:"…"      its default
//	doc:"…"             what it means, for people
//	secret:"true"       its value is never printed
//	envPrefix:"…"       of a struct: what its variables begin with
//
// A struct with a method Validate() error is asked after it was read. There are
// no files, no flags and no other names: what a process was told can be read in
// its manifest.
package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Load reads a T from the environment; environ replaces the process's own.
//
// The error joins everything that is wrong, one line each, each naming its
// variable. It never holds the value of a secret.
func Load[T any](environ ...map[string]string) (T, error) {
	var value T
	err := Into([]any{&value}, environ...)
	return value, err
}

// Into reads several structs, given by pointer, and joins what is wrong in any
// of them, so that an operator mends everything at once.
func Into(structs []any, environ ...map[string]string) error {
	from := env.ToMap(os.Environ())
	if len(environ) > 0 {
		from = environ[0]
	}
	var problems []error
	for _, into := range structs {
		problems = append(problems, load(into, from))
	}
	return errors.Join(problems...)
}

// validator is a Config that can tell whether its values could work.
type validator interface{ Validate() error }

func load(into any, from map[string]string) error {
	err := env.ParseWithOptions(into, env.Options{Environment: from})
	if err == nil {
		if v, ok := into.(validator); ok {
			err = v.Validate()
		}
		return err
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		return fmt.Errorf("reading the environment into %T: %w", into, err)
	}
	var problems []error
	for _, problem := range all.Errors {
		problems = append(problems, explain(problem, fieldsOf(reflect.TypeOf(into).Elem(), ""), from))
	}
	return errors.Join(problems...)
}

// explain turns an error of the parser, which names Go fields, into one that
// names the variable. Structs that are read twice, with two prefixes, have two
// variables of one field; the one that is wrong is among those that are set.
func explain(problem error, fields []field, from map[string]string) error {
	var parse env.ParseError
	if !errors.As(problem, &parse) {
		return problem // missing or empty: names the variable itself
	}
	var wrong []string
	for _, f := range fields {
		value, set := from[f.variable]
		if f.Name != parse.Name || !set {
			continue
		}
		if f.Tag.Get("secret") == "true" {
			wrong = append(wrong, fmt.Sprintf("%s must be %s", f.variable, kindOf(f.Type)))
		} else {
			wrong = append(wrong, fmt.Sprintf("%s is %q, must be %s", f.variable, value, kindOf(f.Type)))
		}
	}
	if len(wrong) == 0 {
		return errors.New("a variable has a value of the wrong kind")
	}
	return errors.New(strings.Join(wrong, ", or "))
}

// kindOf says in words what values a type takes.
func kindOf(t reflect.Type) string {
	if t == reflect.TypeFor[Environment]() {
		return "development or production"
	}
	if t.PkgPath() == "time" && t.Name() == "Duration" {
		return "a duration such as 1500ms or 2s"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number in range"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	default:
		return "a " + t.String()
	}
}
