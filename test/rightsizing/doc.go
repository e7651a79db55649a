// Package rightsizing shows, on a cluster, what limits do to a process that is
// not fitted to them, and what pkg/resources changes about that. The pods are in
// deploy/rightsizing, the program they run is cmd/pressure, and cmd/profile
// measures what requests and limits of the services are derived from.
//
// The tests need a cluster and the tag e2e; `make rightsizing` prepares both.
package rightsizing
