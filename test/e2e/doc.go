// Package e2e does to the platform in a real cluster what deploys do, under load
// from a Job in the cluster, with client retries off, and counts what failed.
//
// Its tests have the build tag e2e and are run by `make e2e`, which builds two
// versions of the images and loads them into the cluster that kubectl's current
// context names. They refuse a context that is not marked as safe: its name
// begins with kind-, or HOLDFAST_E2E_CONTEXT repeats it.
package e2e
