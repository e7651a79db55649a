// Package local runs the platform's parts on this machine: where their data
// lives, which Postgres they use, what ports and environment each gets, and how
// their processes are started, kept alive and drained.
//
// `holdfast up` and the drills are built of it. It knows services by name only;
// each runs as a process of its own, `holdfast serve NAME`.
package local
