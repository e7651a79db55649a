// Package sandbox plays the outside world: a card processor behind a real HTTP
// API, with a durable ledger of its own, that fails in every way a processor
// can fail; and, under /llm/ of the same port, providers of language models with
// an invoice of theirs, which are package llm.
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
// The model providers take the same header, for faults of their own kinds, and a
// script of their own, set with POST /llm/faults. What they take and what they
// bill is in docs/llm-sandbox.md.
//
// It holds no secrets, and the keys that it asks for are made up: it belongs on
// a loopback address or inside a test cluster, and moves no money.
package sandbox
