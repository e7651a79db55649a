package payments

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// scripted is a processor that answers as told and counts what it was sent.
type scripted struct {
	lookup  Outcome
	lookErr error
	asked   LookupRequest
	sent    int
}

func (s *scripted) send() (Outcome, error) {
	s.sent++
	return Outcome{Verdict: Done, ProcessorID: "sent"}, nil
}

func (s *scripted) Authorize(context.Context, string, ChargeRequest) (Outcome, error) {
	return s.send()
}

func (s *scripted) Charge(context.Context, string, ChargeRequest) (Outcome, error) { return s.send() }

func (s *scripted) Capture(context.Context, string, string, money.Amount) (Outcome, error) {
	return s.send()
}

func (s *scripted) Void(context.Context, string, string) (Outcome, error) { return s.send() }

func (s *scripted) Refund(context.Context, string, string, money.Amount) (Outcome, error) {
	return s.send()
}

func (s *scripted) Lookup(_ context.Context, _ string, r LookupRequest) (Outcome, error) {
	s.asked = r
	return s.lookup, s.lookErr
}

func (s *scripted) Records(context.Context, time.Time, time.Time, string) ([]Record, string, error) {
	return nil, "", nil
}

func (s *scripted) Horizon() time.Duration { return 24 * time.Hour }

func TestWhatBecameOfAKey(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	found := Outcome{Verdict: Done, ProcessorID: "found"}
	for name, test := range map[string]struct {
		age     time.Duration
		lookup  Outcome
		lookErr error
		want    Outcome
		wantErr error
		sent    int
	}{
		"found":                         {time.Second, found, nil, found, nil, 0},
		"found long after":              {99 * time.Hour, found, nil, found, nil, 0},
		"refused":                       {time.Second, Outcome{Verdict: Refused}, nil, Outcome{Verdict: Refused}, nil, 0},
		"the lookup failed":             {time.Second, Outcome{}, down, Outcome{}, down, 0},
		"the lookup failed, long after": {99 * time.Hour, Outcome{}, down, Outcome{}, down, 0},
		"still pending":                 {time.Second, Outcome{}, errPending, Outcome{}, errPending, 0},
		"no trace: sent again":          {time.Second, Outcome{}, ErrUnknownKey, Outcome{Verdict: Done, ProcessorID: "sent"}, nil, 1},
		"no trace, just in time":        {24*time.Hour - 61*time.Second, Outcome{}, ErrUnknownKey, Outcome{Verdict: Done, ProcessorID: "sent"}, nil, 1},
		"no trace, around the horizon":  {24*time.Hour - 59*time.Second, Outcome{}, ErrUnknownKey, Outcome{}, errUndecided, 0},
		"no trace, just past it":        {24*time.Hour + 59*time.Second, Outcome{}, ErrUnknownKey, Outcome{}, errUndecided, 0},
		"no trace, past it":             {24*time.Hour + 61*time.Second, Outcome{}, ErrUnknownKey, Outcome{Verdict: NeverDone}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			processor := &scripted{lookup: test.lookup, lookErr: test.lookErr}
			o := &operations{processor: processor, now: func() time.Time { return someTime }}
			got, err := o.find(t.Context(), "key", begun(t, Charge), test.age)
			require.ErrorIs(t, err, test.wantErr)
			require.Equal(t, test.want, got)
			require.Equal(t, test.sent, processor.sent)
			require.Equal(t, LookupRequest{Kind: Charge, Amount: euros(1000), Since: someTime.Add(-test.age)}, processor.asked)
		})
	}
}
