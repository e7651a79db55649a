package payments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/money"
)

// compareRecords compares one page of the processor's listing with our books.
func (r *reconciler) compareRecords(ctx context.Context, taken *run) (step, error) {
	records, next, err := r.processor.Records(ctx, taken.Since, taken.Until, taken.Cursor)
	if err != nil {
		return step{}, err
	}
	references := make([]string, len(records))
	for i, record := range records {
		references[i] = record.Payment
	}
	ours, err := r.booksOf(ctx, references)
	if err != nil {
		return step{}, err
	}
	done := step{Phase: comparingRecords, Cursor: next, Records: int64(len(records)), Seen: records}
	for _, record := range records {
		b := ours[record.Payment]
		if b.givesBack(record) {
			done.GivenBack = append(done.GivenBack, record)
		} else if f := compare(record, b); f != nil {
			done.Findings = append(done.Findings, *f)
		}
	}
	if next == "" {
		done.Phase = comparingEntries
	}
	return done, nil
}

// compareEntries asks the processor for those entries of ours that its listing
// has not shown. The listing is of another clock, and an outcome may be written
// down long after it was: only an answer to the key itself proves anything.
func (r *reconciler) compareEntries(ctx context.Context, taken *run) (step, error) {
	var after place
	if err := readCursor(taken.Cursor, &after); err != nil {
		return step{}, err
	}
	entries, seen, err := r.runs.entriesIn(ctx, taken.Since, taken.Until, after, r.page)
	if err != nil {
		return step{}, err
	}
	done := step{Phase: comparingEntries, Entries: int64(len(entries))}
	for i, e := range entries {
		if seen[i] {
			continue
		}
		f, err := r.compareEntry(ctx, e)
		if err != nil {
			return step{}, err
		}
		if f != nil {
			done.Findings = append(done.Findings, *f)
		}
	}
	if len(entries) < r.page {
		done.Phase = comparingAuthorizations
		return done, nil
	}
	last := entries[len(entries)-1]
	done.Cursor = writeCursor(place{Time: last.CreateTime, ID: last.Payment, Key: last.ProcessorKey})
	return done, nil
}

// compareEntry asks the processor for one entry.
func (r *reconciler) compareEntry(ctx context.Context, e Entry) (*Finding, error) {
	p, err := r.payments.get(ctx, e.Tenant, e.Payment)
	if err != nil {
		return nil, err
	}
	kinds := []Kind{e.Kind}
	if e.Kind == Capture {
		kinds = append(kinds, Charge) // the ledger does not tell them apart
	}
	var theirs Outcome
	var known bool
	for _, kind := range kinds {
		request := LookupRequest{
			Kind: kind, ProcessorID: p.ProcessorID, Since: p.CreateTime,
			Amount: money.Amount{Currency: e.Currency, Minor: e.Amount},
		}
		if theirs, known, err = r.lookUp(ctx, e.ProcessorKey, request); err != nil {
			return nil, err
		}
		if known {
			break
		}
	}
	if known && theirs.Verdict == Done {
		return nil, nil
	}
	f := missingThere(e, p, theirs, known)
	return &f, nil
}

// compareAuthorizations does for reservations what compareEntries does for
// money. The key is not in our books, but in the idempotency key's row; once
// that has expired nothing can be proved, and nothing is said.
func (r *reconciler) compareAuthorizations(ctx context.Context, taken *run) (step, error) {
	var after place
	if err := readCursor(taken.Cursor, &after); err != nil {
		return step{}, err
	}
	payments, seen, err := r.runs.authorizedIn(ctx, taken.Since, taken.Until, after, r.page)
	if err != nil {
		return step{}, err
	}
	done := step{Phase: comparingAuthorizations, Entries: int64(len(payments))}
	for i, p := range payments {
		if seen[i] {
			continue
		}
		trace, found, err := r.keys.Beginning(ctx, p.Tenant, p.ID)
		if err != nil {
			return step{}, err
		}
		if !found {
			continue
		}
		key := trace.ProviderKey(string(Authorize))
		_, known, err := r.lookUp(ctx, key, authorizationOf(p))
		if err != nil {
			return step{}, err
		}
		if !known {
			done.Findings = append(done.Findings, unheld(p, key))
		}
	}
	if len(payments) < r.page {
		done.Phase = lookingForOverdue
		return done, nil
	}
	last := payments[len(payments)-1]
	done.Cursor = writeCursor(place{Time: last.CreateTime, ID: last.ID})
	return done, nil
}

func authorizationOf(p *Payment) LookupRequest {
	return LookupRequest{Kind: Authorize, ProcessorID: p.ProcessorID, Amount: p.Amount, Since: p.CreateTime}
}

// findOverdue asks the processor for operations that are open although they
// began before all that is compared. Those whose outcome it knows are handed to
// the completer at once; the others are the completer's as they were.
func (r *reconciler) findOverdue(ctx context.Context, taken *run) (step, error) {
	var after place
	if err := readCursor(taken.Cursor, &after); err != nil {
		return step{}, err
	}
	open, err := r.keys.UndecidedBefore(ctx, taken.Until, idempotency.Trace{CreateTime: after.Time, Resource: after.ID}, r.page)
	if err != nil {
		return step{}, err
	}
	done := step{Phase: lookingForOverdue, Entries: int64(len(open))}
	for _, trace := range open {
		f, err := r.overdue(ctx, trace)
		if err != nil {
			return step{}, err
		}
		if f == nil {
			continue
		}
		done.Findings = append(done.Findings, *f)
		if err := r.keys.Hasten(ctx, trace.Resource); err != nil {
			return step{}, err
		}
	}
	if len(done.Findings) > 0 {
		r.nudge()
	}
	if len(open) < r.page {
		done.Phase = healing
		return done, nil
	}
	last := open[len(open)-1]
	done.Cursor = writeCursor(place{Time: last.CreateTime, ID: last.Resource})
	return done, nil
}

// overdue asks the processor for one open operation.
func (r *reconciler) overdue(ctx context.Context, trace idempotency.Trace) (*Finding, error) {
	kind, ours := kindOf[trace.Method]
	if !ours {
		return nil, nil
	}
	p, age, err := r.payments.getOpen(ctx, trace.Tenant, trace.Resource)
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if p.Open == nil || p.Open.Kind != kind {
		return nil, nil // decided meanwhile
	}
	key := trace.ProviderKey(string(kind))
	theirs, known, err := r.lookUp(ctx, key, LookupRequest{
		Kind: kind, ProcessorID: p.ProcessorID, Since: clock().Add(-age),
		Amount: money.Amount{Currency: p.Amount.Currency, Minor: p.Open.Amount},
	})
	if err != nil || !known || theirs.Verdict == "" {
		return nil, err
	}
	f := overdue(p, key, theirs)
	return &f, nil
}

// writeCursor and readCursor keep a place between steps, in the run's row.
func writeCursor(p place) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // a time, an id and a string always marshal
	}
	return string(text)
}

func readCursor(text string, into *place) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("read where to go on: %w", err)
	}
	return nil
}
