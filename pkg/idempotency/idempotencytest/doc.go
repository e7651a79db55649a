// Package idempotencytest holds the state table of idempotency keys as a suite
// that every method which needs a key runs, over gRPC and over HTTP. The table
// is the contract with clients; see [Suite] for its rows.
package idempotencytest
