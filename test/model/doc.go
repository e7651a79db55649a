// Package model is the protocol of two commits as a state machine that a
// computer can walk through completely: every order in which requests, replicas,
// completers, the provider and the clock can act, with a crash or a lost message
// at every point. It finds what no test with real processes can be sure to hit.
//
// One key is modelled, from its first arrival to the end, as payments uses it:
//
//	first commit ─→ charge under a derived key ─→ second commit
//	                        │ unknown
//	                        ▼
//	                 answer sealed, 202; a completer takes over under the next
//	                 epoch, looks up, and sends again or decides
//
// Requests with the key may arrive any number of times, with the same payload or
// another; owners may crash, or be slow, anywhere and any number of times; leases
// may run out at any moment, so there is no bound on takeovers. What is bounded
// is how many owners are alive at once ([Model.Owners]) and how many requests are
// under way to the provider that nobody waits for ([Model.UnderWay]).
//
// Read state.go, then owner.go, completer.go and world.go: what can happen. Then
// rules.go: what must hold. explore.go walks breadth first, so that a violation
// comes with a shortest story.
//
// # What is assumed
//
// Commits are atomic and last. The provider does at most one operation for a key
// until it forgets the key, and its books never forget. An owner's time, from
// reading the age of an operation to the arrival of the request that it sends on
// that reading, is shorter than the margin that payments keeps around the
// provider's horizon: see [Model.settled]. A control shows what happens without.
//
// # What is not in it
//
// The window of keys and their expiry, opaque keys, tenants, the rotation of
// secrets, cancellations and refunds. Those have tests of their own.
package model
