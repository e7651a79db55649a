// Package idempotency gives requests exactly-once effects. However often a
// request is sent, whichever replica gets it and whatever dies in between, its
// effect happens once and every answer for its key is the same bytes.
//
// The promise is about effects, not about executions: code may run twice, and
// the second run is rolled back, refused or fenced. Towards a system outside
// the database the promise is as good as that system's own idempotency or
// lookup.
//
// Three forms of a write share one table of keys:
//
//   - [Store.Insert]: an unconditional insert. The key, already complete with
//     its answer, and the business rows are written by one statement: one round
//     trip, one commit. "In progress" is a lock and never a row, so there is
//     nothing to reap after a crash.
//   - [Store.Modify]: a write that depends on rows. Two round trips, one commit.
//   - [Store.BeginInsert] and [Store.BeginModify]: a write that calls another
//     system. Two commits: the first leaves the key pending under a lease and
//     an epoch, [Attempt.Complete] or [Attempt.Seal] gives the answer, and a
//     [Completer] finishes what a crash or a timeout left open.
//
// [UnaryServerInterceptor] reads the key, refuses what is malformed, and sends
// the stored bytes; handlers find their [Call] with [FromContext].
//
// The package is not a cache, a queue or a lock service: it never stores an
// outcome that is not known.
package idempotency
