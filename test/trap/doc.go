// Package trap makes a replica die, or stall, at a named step of the way of an
// order: before or after each commit, and before or after each call to another
// service or to the card processor. What is left behind then is what the protocol
// of package idempotency must be able to go on from.
//
// It reaches into a service by decorating its graph (service.WithGraph): the pool
// gets a tracer that sees every statement, and the clients get a wrapper. So the
// services have no line of code for it, and what runs is what is shipped.
package trap
