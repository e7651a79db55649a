package config

import (
	"reflect"
	"slices"
	"strings"
)

// Variable is one thing that can be configured.
type Variable struct {
	Name    string // of the environment variable
	Default string // used when it is not set; "" if there is none
	Doc     string // what it means
	Secret  bool   // its value must not be shown
}

// Describe lists what the structs, given by value or pointer, read from the
// environment, by name. A variable that several structs read is listed once.
func Describe(structs ...any) []Variable {
	var variables []Variable
	for _, s := range structs {
		t := reflect.TypeOf(s)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		variables = append(variables, describe(t)...)
	}
	slices.SortStableFunc(variables, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(variables, func(a, b Variable) bool { return a.Name == b.Name })
}

func describe(t reflect.Type) []Variable {
	var variables []Variable
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		if name == "" || name == "-" {
			continue
		}
		variables = append(variables, Variable{
			Name:    name,
			Default: field.Tag.Get("envDefault"),
			Doc:     field.Tag.Get("doc"),
			Secret:  field.Tag.Get("secret") == "true",
		})
	}
	return variables
}
