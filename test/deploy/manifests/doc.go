// Package manifests checks what Kustomize builds under deploy/, without a
// cluster: every object is one that Kubernetes knows, to the last field, and all
// together keep the promises that the platform makes about being deployed.
//
// A check is a function from objects to problems. Each has controls: changes to
// manifests that are right, which it must find.
package manifests
