// Package routes reads the file that says which models clients may ask for and
// who answers: providers with their keys, routes with their chains, budgets and
// limits. docs/llm-routes.md is the reference.
//
// A [Table] is one version of the file and never changes. A [Source] watches the
// file: a request takes its current table once and keeps to it, and a file that
// is wrong changes nothing but what [Source.Status] says.
package routes
