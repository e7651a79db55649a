// Package compose tries docker-compose.yml as a person would: up from nothing,
// an order, restarts while clients go on, down to nothing. It needs Docker, and
// minutes where the images are not cached; so it is behind a build tag:
//
//	go test -tags docker -timeout 30m ./test/compose
//
// Each test is a project of its own with a port of its own, and disturbs none
// that runs.
package compose
