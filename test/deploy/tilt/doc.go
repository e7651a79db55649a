// Package tilt evaluates the Tiltfile without Tilt and without a cluster, and
// tells what it would have Tilt do.
//
// Starlark finds a misspelt name only when a line runs, and Tilt itself passes
// over some mistakes with a warning in a log that scrolls by: a dependency on a
// resource that does not exist is ignored, and the order is gone. So Tilt's
// built-ins are stood in for strictly: a built-in, an argument or an object that
// does not exist is an error. What this cannot tell is whether Tilt does what it
// is told; `tilt ci` tells that.
package tilt
