// Package faults makes a service misbehave on request: slow, failing, cutting
// connections and streams, or losing the answer of something that was done. It
// is for development and drills. docs/fault-injection.md shows how it is used;
// [Injector.Route] has the format of the rules.
//
// The code that injects has the build tag `faults`. Without it the package
// offers the same few names and none of them does anything, so that a
// production binary contains nothing that could be switched on: see off.go. With
// it, faults are still to be had in [config.Development] only.
//
// Faults stand where the service itself would misbehave: inside telemetry and
// the typing of errors, so that they are seen like real ones, and outside
// authentication and everything behind it. Only methods that the service
// registered can have faults; health and reflection, everything below /grpc.,
// never have any.
//
// It knows no method by name, decides nothing by itself, and is no load
// generator.
package faults
