// Package bench measures what the platform adds to a call, and what others add
// to the same call: failsafe-go and gobreaker on the client's side, go-zero and
// kratos on the server's. It is a module of its own, so that none of them is in
// the platform's go.mod.
//
// Figures are compared within one run only: the things compared take turns in
// short blocks, so that whatever else the machine does hits all of them. Nothing
// here fails for being slow; docs/benchmarks.md has what was measured, and what
// was aimed at.
package bench
