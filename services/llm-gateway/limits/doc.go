// Package limits keeps to how much may be asked for in a minute: of tenants, whose
// limits are ours, and of providers' keys, whose limits are the provider's.
//
// Each limit is a token bucket that holds a minute's worth and fills evenly, of
// requests and of tokens. A request takes what it can cost at the worst before it
// leaves, and gives back what it did not use when it has ended: whatever is used
// is within the bucket, and a request that is refused takes nothing. One that is
// larger than the bucket waits until that is full, and leaves a debt.
//
// For keys, the provider's own count goes before ours: other replicas, and others
// who have the key, count there too. What its headers say is left is believed,
// together with how it fills up until the reset they name.
//
// # Each replica for itself
//
// Buckets are in memory, and nobody knows how many replicas there are: a limit is
// that of one replica. Behind n of them a tenant may get up to n times as much, and
// a key's limit is best set to the provider's, divided by how many there are at the
// most. What must hold to the cent is a budget, which all replicas share.
//
// pkg/ratelimit, which limits what comes in by calls, has one quota for all keys
// and takes one token at a time; here each has its own, and takes are of many and
// corrected.
package limits
