package payments

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// awaitHealing gives the completer a moment, so that the report of this run can
// say that it has healed.
func (r *reconciler) awaitHealing(ctx context.Context, _ *run) (step, error) {
	deadline := time.Now().Add(r.patience)
	for {
		waiting, err := r.stillOpen(ctx)
		if err != nil {
			return step{}, err
		}
		if !waiting || time.Now().After(deadline) {
			return step{Phase: closingFindings}, nil
		}
		select {
		case <-ctx.Done():
			return step{}, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stillOpen says whether an operation that was found undecided is so still.
func (r *reconciler) stillOpen(ctx context.Context) (bool, error) {
	for after := int64(0); ; {
		found, err := r.runs.openFindings(ctx, after, r.page)
		if err != nil || len(found) == 0 {
			return false, err
		}
		ours, err := r.booksOf(ctx, referencesOf(found))
		if err != nil {
			return false, err
		}
		for _, f := range found {
			if f.Kind == Undecided && ours[f.Payment].holds(f.ProcessorKey) {
				return true, nil
			}
		}
		after = found[len(found)-1].Number
	}
}

func referencesOf(found []storedFinding) []string {
	references := make([]string, len(found))
	for i, f := range found {
		references[i] = f.Payment
	}
	return references
}

// closeFindings looks again at a page of what is open, also of runs long ago:
// what is gone is closed, and what has become another difference is that one
// from now on. The processor's side is taken from the finding, for an operation
// does not change once it is done; ours is read anew.
func (r *reconciler) closeFindings(ctx context.Context, taken *run) (step, error) {
	var after int64
	if taken.Cursor != "" {
		var err error
		if after, err = strconv.ParseInt(taken.Cursor, 10, 64); err != nil {
			return step{}, err
		}
	}
	found, err := r.runs.openFindings(ctx, after, r.page)
	if err != nil {
		return step{}, err
	}
	ours, err := r.booksOf(ctx, referencesOf(found))
	if err != nil {
		return step{}, err
	}
	done := step{Phase: closingFindings}
	for _, f := range found {
		if err := r.lookAgain(ctx, f, ours[f.Payment], &done); err != nil {
			return step{}, err
		}
	}
	if len(found) < r.page {
		done.Phase = finished
		return done, nil
	}
	done.Cursor = strconv.FormatInt(found[len(found)-1].Number, 10)
	return done, nil
}

// lookAgain says what has become of one finding.
func (r *reconciler) lookAgain(ctx context.Context, f storedFinding, b books, done *step) error {
	record, recorded := f.record()
	switch {
	case f.Kind == Undecided:
		if !b.holds(f.ProcessorKey) {
			done.Closings = append(done.Closings, closing{f.Number, f.Kind, FindingHealed})
			return nil
		}
		done.Findings = append(done.Findings, f.Finding)
	case recorded && b.givesBack(record) && f.Kind == MissingHere:
		// The charge that it undoes may have been found after it.
		done.GivenBack = append(done.GivenBack, record)
	case recorded:
		now := compare(record, b)
		if now != nil {
			done.Findings = append(done.Findings, *now)
		}
		if now == nil || now.Kind != f.Kind {
			done.Closings = append(done.Closings, closing{f.Number, f.Kind, FindingResolved})
		}
	default:
		there, err := r.nowThere(ctx, f, b)
		if err != nil {
			return err
		}
		if there {
			done.Closings = append(done.Closings, closing{f.Number, f.Kind, FindingResolved})
			return nil
		}
		done.Findings = append(done.Findings, f.Finding)
	}
	return nil
}

// nowThere asks the processor again for what it had no record of.
func (r *reconciler) nowThere(ctx context.Context, f storedFinding, b books) (bool, error) {
	if f.Operation == Authorize && (b.Payment == nil || b.Payment.State != Authorized) {
		return true, nil // it is held no longer, by nobody
	}
	if b.Payment == nil || f.OurAmount == nil {
		return false, nil
	}
	if f.Operation == Authorize {
		_, known, err := r.lookUp(ctx, f.ProcessorKey, authorizationOf(b.Payment))
		return known, err
	}
	id, err := uuid.Parse(f.Payment)
	if err != nil {
		return false, err
	}
	now, err := r.compareEntry(ctx, Entry{
		Payment: id, ProcessorKey: f.ProcessorKey, Kind: f.Operation, Tenant: f.Tenant,
		Amount: *f.OurAmount, Currency: f.Currency,
	})
	return now == nil, err
}

// holds says whether the completer still has the operation.
func (b books) holds(key string) bool {
	return slices.Contains(b.OpenKeys, key)
}
