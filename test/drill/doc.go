// Package drill does to a running platform what deploys and accidents do, under
// load, and judges what clients saw.
//
// A drill starts what it needs as real processes, puts on open-loop load with
// client retries off (or on, where it says so), does the thing, waits until
// everything is decided, checks the invariants, and returns a [Verdict]. A
// sabotage breaks the very mechanism that the drill is about: with it the verdict
// must be red, or the drill proves nothing.
//
//	     load ──► balancer ──► orders 1..3 ──► payments 1..3 ──► sandbox
//	(kube-proxy's part)   ▲        (by the endpoints, as by DNS)
//	                 endpoints ◄── /readyz of every replica
//
// Drills that are about the network have one replica of each, and a [Link] in
// place of every arrow.
package drill
