package invariants

import (
	"context"
	"fmt"
	"time"
)

// nothingUndecided is invariant 4.
func nothingUndecided(e *evidence) (found []Violation) {
	violated := func(subject string, since time.Time, what string) {
		if open := e.now.Sub(since); open > e.bound {
			found = append(found, Violation{
				Invariant: 4, Subject: subject,
				Text: fmt.Sprintf("%s for %s, the bound is %s", what, open.Round(time.Second), e.bound),
			})
		}
	}
	for _, o := range e.orders {
		if o.State == "PENDING_PAYMENT" || o.State == "CANCELLING" {
			violated("order "+o.ID.String(), o.UpdateTime, "it has been in "+o.State)
		}
	}
	for _, p := range e.payments {
		if p.Open {
			violated("payment "+p.ID.String(), p.UpdateTime, "an operation on it has been open")
		}
	}
	for _, k := range e.undecided {
		violated("key "+k.Key, k.CreateTime, "it has been undecided in "+k.Service)
	}
	return found
}

// open counts what is undecided, however young.
func (e *evidence) open() int {
	n := len(e.undecided)
	for _, o := range e.orders {
		if o.State == "PENDING_PAYMENT" || o.State == "CANCELLING" {
			n++
		}
	}
	for _, p := range e.payments {
		if p.Open {
			n++
		}
	}
	return n
}

// AwaitQuiescence waits until nothing is undecided. When ctx ends first it
// returns nil all the same: invariant 4 will name what is late, which says more
// than a timeout does.
func AwaitQuiescence(ctx context.Context, s Sources) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		evidence, err := collect(context.WithoutCancel(ctx), s)
		if err != nil {
			return err
		}
		if evidence.open() == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
