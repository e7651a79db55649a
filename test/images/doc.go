// Package images holds the images to what deploy/images/Dockerfile promises:
// one binary in each, that is PID 1, is not root, can write nothing, says what
// it was built from, and is the same wherever it is built.
//
// The tests build all images, which takes minutes where nothing is cached, and
// need Docker; so they are behind a build tag:
//
//	go test -tags docker -timeout 30m ./test/images
package images
