// Package service is what every service is made of: a gRPC server with the
// platform's interceptors, the same API over HTTP, probes, an admin port, and a
// shutdown that drops nothing.
//
// A service gives a [Definition]: its name, an fx module that provides its APIs
// and workers, its migrations and its configuration. Everything else is here,
// so that services differ in what they do and in nothing else.
//
// # What a module finds
//
// The fx graph of a service has, besides what its own module provides:
//
//	*slog.Logger              JSON, with trace ids
//	config.Environment        development or production
//	every Config              of Definition.Config, read from the environment
//	*health.Health            for dependencies to be watched and heartbeats
//	*resilience.Registry      for dependencies to be called; see [Dial]
//	*pgxpool.Pool             if Definition.Migrations is set: opened, waited
//	                          for, at the schema that the migrations make, and
//	                          closed after everything that was appended to the
//	                          lifecycle later
//	auth.Config, postgres.Config
//
// If the module provides an *idempotency.Store, the interceptors use it. A
// method that needs a key and no store is an error at start-up.
//
// # What a module provides
//
// APIs ([ProvideAPI]), which are gRPC and, by the gateway, HTTP; workers
// ([ProvideWorker]); and HTTP routes that speak a protocol which is not ours
// ([ProvideRoutes]), behind the same interceptors.
//
// # Life
//
// Starting, ready, draining, stopped: see [Run] for the order in which things
// open and drain.go for the order in which they close.
//
// It knows no service and holds no business rules.
package service
