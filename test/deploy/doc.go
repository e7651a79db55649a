// Package deploy checks what deploys the platform without deploying it:
// manifests, alert rules, dashboards and the Tiltfile. It is a module of its
// own, so that the types of Kubernetes, Prometheus' parser and Starlark stay
// out of the platform's go.mod.
package deploy
