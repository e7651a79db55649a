// Package sandbox plays the outside world: a card processor behind a real HTTP
// API, with a durable ledger of its own, that fails in every way a processor
// can fail.
//
// Because its ledger is independent of the platform's, what the platform
// believes can be compared with what the world saw. It shares no code with the
// platform's idempotency package for the same reason: a bug there must not be
// mirrored here.
//
// Three sources decide how a request fails, the first that applies wins: the
// Sandbox-Fault header of the request, the script set with POST /faults, and
// the payment method token (see [PaymentMethods]). A card that declines does so
// whatever else happens to the request. A script draws from a hash of
// its seed, the idempotency key and how often that key was sent, never from a
// shared stream of random numbers, so that the same requests meet the same
// faults in whatever order they arrive, also after a crash.
//
// It holds no secrets and asks for no credentials: it belongs on a loopback
// address or inside a test cluster, and moves no money.
package sandbox
