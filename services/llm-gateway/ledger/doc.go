// Package ledger keeps what language models may cost and did cost, in Postgres.
//
// Its promise: for every budget, what is settled and what is reserved are
// together never above the limit, at any instant, with any number of replicas,
// and through crashes of all of them. The one exception is a provider that bills
// more than the dearest a request could be: that is recorded as it is, and
// flagged.
//
// It is a write-ahead ledger. Before a request leaves for a provider, one round
// trip reserves the worst that it can cost in every budget that applies and
// commits a row that says it is dispatched. One more settles what it did cost.
// What a crash leaves between the two is not guessed at: its reservation stays
// until somebody who knows has been asked.
//
//	Reserve, Next
//	     │
//	     ▼            lease over, or the owner cannot tell
//	dispatched ─────────────────────────────► unknown ◄──┐ not known yet:
//	     │                                       │  └────┘ asked again later
//	     │ Settle, Next        Release, Next     │ Reconciler, Resolve
//	     ├──────────► settled ◄──────────────────┤
//	     │                                       │
//	     └──────────► failed  ◄──────────────────┘
//
// settled was billed and has a cost; failed was not and gave its reservation
// back. Each change is one statement that names the epoch and the state it goes
// from, so that a slow owner whose attempt was taken over changes nothing (a
// fencing token: Kleppmann, Designing Data-Intensive Applications, chapter 8),
// and so that sending it again after its reply was lost is harmless.
//
// A request is its attempts: one goes out, and when it fails without having
// answered another one may follow, within the same budgets. An Idempotency-Key
// belongs to a request while any of its attempts is open, and for good once one
// of them was billed; see [Ledger.Reserve].
//
// Money is in nano-dollars, 1e-9 USD, as int64 everywhere. Leases go by the
// database's clock alone. What is not here: prices (package price), limits of
// requests a minute, and sending anything.
package ledger
