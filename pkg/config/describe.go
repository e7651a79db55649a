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
	for _, f := range fieldsOf(t, "") {
		variables = append(variables, Variable{
			Name:    f.variable,
			Default: f.Tag.Get("envDefault"),
			Doc:     f.Tag.Get("doc"),
			Secret:  f.Tag.Get("secret") == "true",
		})
	}
	return variables
}

// field is a field that is read from a variable.
type field struct {
	reflect.StructField
	variable string
}

// fieldsOf lists the fields that are read from the environment, those of structs
// with a prefix included.
func fieldsOf(t reflect.Type, prefix string) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		if inner, ok := f.Tag.Lookup("envPrefix"); ok && f.Type.Kind() == reflect.Struct {
			fields = append(fields, fieldsOf(f.Type, prefix+inner)...)
			continue
		}
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" && name != "-" {
			fields = append(fields, field{f, prefix + name})
		}
	}
	return fields
}
