// Package ratelimit is how much of a server one caller may use. A [Limiter] is
// a token bucket for each key, in bounded memory; [Limits] are those of one
// server, from outside in:
//
//	address      requests of one client address, before anybody asks who it is
//	failed auth  credentials of one address that did not hold; when it has no
//	             more of them, nobody looks at its next one
//	tenant       calls of one tenant, reads apart from writes, once it is known
//	             who calls
//
// What is refused is answered with the reason RATE_LIMITED, and when to come
// back. What passed the third says what is left, in the fields RateLimit-Policy
// and RateLimit of draft-ietf-httpapi-ratelimit-headers-10: as headers over
// HTTP, as trailers over gRPC.
//
// # One replica
//
// Buckets are in the memory of one process. Behind N replicas that share the
// load a caller gets up to N times each limit, and a replica that restarts has
// forgotten what it counted. That is enough for what these limits are for: no
// caller takes a replica away from the others, and nobody tries keys as fast as
// the network carries them. Counting in one place would make every call wait
// for another machine, and fail with it.
//
// If it is not enough, if a limit is sold or must hold to the call, count where
// all calls meet: in the load balancer or API gateway in front (Envoy's global
// rate limit service is one), or in a store that all replicas share, with the
// answer to what happens when the store is down decided in advance. Dividing the
// limits by the number of replicas is the poor man's way: right on average, too
// tight for a caller whose connection stays on one replica.
//
// It does not shed load: that a server has too much to do is no one caller's
// fault, and not for a limit to find out.
package ratelimit
