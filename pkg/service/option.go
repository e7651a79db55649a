package service

import (
	"io"

	"go.uber.org/fx"
)

// Sabotage breaks the drain on purpose, so that a drill can show that it would
// notice. Only [WithSabotage] takes one: no environment variable and no flag of
// a service's own binary leads here.
type Sabotage int

// What can be broken.
const (
	// NoDrain stops servers without letting requests finish.
	NoDrain Sabotage = 1 << iota
	// NoReadinessFlip closes the listeners without telling anyone first: no
	// change of health and no lame duck.
	NoReadinessFlip
)

// Option changes how [Run] runs.
type Option func(*options)

type options struct {
	sabotage Sabotage
	environ  map[string]string // nil: the process's own
	settled  func(Addresses)   // called once ready
	logs     io.Writer         // nil: standard error
	graph    []fx.Option
}

// WithSabotage breaks the drain; several may be combined with |.
func WithSabotage(s Sabotage) Option { return func(o *options) { o.sabotage = s } }

// WithEnvironment replaces the process's environment, so that tests can run
// several services in one process.
func WithEnvironment(variables map[string]string) Option {
	return func(o *options) { o.environ = variables }
}

// WithReady has f called once, when the service is ready, with the addresses
// it listens on. Ports that were left to the system (":0") are known then.
func WithReady(f func(Addresses)) Option { return func(o *options) { o.settled = f } }

// WithLogs sends log lines to w in place of standard error.
func WithLogs(w io.Writer) Option { return func(o *options) { o.logs = w } }

// WithGraph adds to what the service is made of. With fx.Decorate it puts
// something in the place of a part, or around it: how tests and drills reach
// inside without the service knowing.
func WithGraph(parts ...fx.Option) Option {
	return func(o *options) { o.graph = append(o.graph, parts...) }
}
