package payments

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// rig is a processor with a line to it that can be disturbed, and the world's
// own view of what was done.
type rig struct {
	Processor
	line *line
	// Tokens of a card that pays, and of one that is declined with the code.
	card, declines, code string
	// done is how many operations of a kind took effect, in the processor's own
	// books.
	done func(t *testing.T, kind Kind) int
	// unfinished has the processor accept what is sent meanwhile without
	// finishing it at once, and finish it in the end.
	unfinished func(t *testing.T, send func(), look func())
	// forgotten has what is sent meanwhile done, and its key forgotten.
	forgotten func(t *testing.T, send func())
}

// rigs are the processors that must keep the contract.
var rigs = map[string]func(*testing.T) *rig{
	"sandbox": sandboxRig,
	"stripe":  stripeRig,
}

// rigPatience is how long a rig's processor is waited for.
const rigPatience = time.Second

// kinds are the operations there are.
var kinds = []Kind{Authorize, Charge, Capture, Void, Refund}

// operation is one operation that can be sent as often as wanted, always under
// one key.
type operation struct {
	kind    Kind
	key     string
	payment string // of one that begins a payment
	request LookupRequest
	send    func(context.Context) (Outcome, error)
}

// prepare makes an operation of the kind that the processor will do.
func (r *rig) prepare(t *testing.T, kind Kind) operation {
	t.Helper()
	switch kind {
	case Authorize, Charge:
		return r.begin(kind, r.card, euros(1000))
	case Capture, Void:
		return r.follow(t, kind, r.do(t, r.begin(Authorize, r.card, euros(1000))), euros(600))
	default:
		return r.follow(t, kind, r.do(t, r.begin(Charge, r.card, euros(1000))), euros(600))
	}
}

func freshKey() string { return "hf_" + strings.ReplaceAll(uuid.NewString(), "-", "") }

// begin is an operation that begins a payment.
func (r *rig) begin(kind Kind, token string, amount money.Amount) operation {
	key := freshKey()
	request := ChargeRequest{Payment: uuid.NewString(), Description: "order-1", PaymentMethod: token, Amount: amount}
	send := func(ctx context.Context) (Outcome, error) { return r.Charge(ctx, key, request) }
	if kind == Authorize {
		send = func(ctx context.Context) (Outcome, error) { return r.Authorize(ctx, key, request) }
	}
	return operation{kind, key, request.Payment, LookupRequest{Kind: kind, Amount: amount, Since: time.Now()}, send}
}

// follow is an operation on a charge that there is.
func (r *rig) follow(t *testing.T, kind Kind, processorID string, amount money.Amount) operation {
	t.Helper()
	key := freshKey()
	send := map[Kind]func(context.Context) (Outcome, error){
		Capture: func(ctx context.Context) (Outcome, error) { return r.Capture(ctx, key, processorID, amount) },
		Void:    func(ctx context.Context) (Outcome, error) { return r.Void(ctx, key, processorID) },
		Refund:  func(ctx context.Context) (Outcome, error) { return r.Refund(ctx, key, processorID, amount) },
	}[kind]
	return operation{kind, key, "", LookupRequest{Kind: kind, ProcessorID: processorID, Amount: amount, Since: time.Now()}, send}
}

// do sends an operation that must be done, and returns the charge's name.
func (r *rig) do(t *testing.T, o operation) string {
	t.Helper()
	outcome, err := o.send(t.Context())
	require.NoError(t, err)
	require.Equal(t, Done, outcome.Verdict, "%+v", outcome)
	require.NotEmpty(t, outcome.ProcessorID)
	if o.request.ProcessorID != "" {
		require.Equal(t, o.request.ProcessorID, outcome.ProcessorID)
	}
	return outcome.ProcessorID
}

func (r *rig) lookup(t *testing.T, o operation) (Outcome, error) {
	t.Helper()
	return r.Lookup(t.Context(), o.key, o.request)
}

// TestEveryProcessorKeepsTheContract holds every implementation of [Processor]
// to what the service relies on.
func TestEveryProcessorKeepsTheContract(t *testing.T) {
	t.Parallel()
	for name, start := range rigs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, test := range map[string]func(*testing.T, *rig){
				"what is done is done once and found":           doneOnceAndFound,
				"a decline is an outcome and stays one":         declineIsAnOutcome,
				"a definite refusal did nothing":                refusalsAreDefinite,
				"a spoilt exchange leaves the outcome unknown":  spoiltExchanges,
				"a lookup that fails is not a missing trace":    failedLookups,
				"a key that was used otherwise is not refused":  reusedKeys,
				"what is not finished is neither done nor lost": unfinishedBusiness,
				"a forgotten key is still found":                forgottenKeys,
				"one key sent at once has one effect":           oneKeyAtOnce,
				"one call is one send":                          oneCallOneSend,
				"the records are what was done":                 recordsAreWhatWasDone,
			} {
				t.Run(what, func(t *testing.T) {
					t.Parallel()
					test(t, start(t))
				})
			}
		})
	}
}

func doneOnceAndFound(t *testing.T, r *rig) {
	for _, kind := range kinds {
		o := r.prepare(t, kind)
		_, err := r.lookup(t, o)
		require.ErrorIs(t, err, ErrUnknownKey, kind)
		before := r.done(t, kind)
		id := r.do(t, o)
		require.Equal(t, id, r.do(t, o), "a repeat has the same outcome")
		require.Equal(t, before+1, r.done(t, kind), kind)
		found, err := r.lookup(t, o)
		require.NoError(t, err)
		require.Equal(t, Outcome{Verdict: Done, ProcessorID: id}, found, kind)
	}
}

func declineIsAnOutcome(t *testing.T, r *rig) {
	for _, kind := range []Kind{Authorize, Charge} {
		o := r.begin(kind, r.declines, euros(1000))
		want := Outcome{Verdict: Refused, DeclineCode: r.code}
		for range 2 {
			outcome, err := o.send(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, outcome)
		}
		found, err := r.lookup(t, o)
		require.NoError(t, err)
		require.Equal(t, want, found)
		require.Zero(t, r.done(t, kind))
	}
}

func refusalsAreDefinite(t *testing.T, r *rig) {
	charged := r.do(t, r.prepare(t, Charge))
	authorized := r.do(t, r.prepare(t, Authorize))
	capture := r.prepare(t, Capture)
	r.do(t, capture)
	void := r.prepare(t, Void)
	r.do(t, void)
	refund := r.prepare(t, Refund)
	r.do(t, refund)
	for code, operations := range map[string][]operation{
		"wrong_state": {
			r.follow(t, Void, charged, euros(1000)),
			r.follow(t, Void, capture.request.ProcessorID, euros(1000)),
			r.follow(t, Capture, capture.request.ProcessorID, euros(400)),
			r.follow(t, Capture, void.request.ProcessorID, euros(1000)),
		},
		"not_found": {
			r.follow(t, Capture, "pi_none", euros(1)),
			r.follow(t, Void, "pi_none", euros(1)),
			r.follow(t, Refund, "pi_none", euros(1)),
		},
		"amount_too_large": {
			r.follow(t, Capture, authorized, euros(1001)),
			r.follow(t, Refund, charged, euros(1001)),
			r.follow(t, Refund, refund.request.ProcessorID, euros(401)),
			r.follow(t, Refund, capture.request.ProcessorID, euros(601)),
		},
		"unknown_payment_method": {r.begin(Charge, "pm_no_such_card", euros(1000)), r.begin(Authorize, "pm_no_such_card", euros(1000))},
		"":                       {r.follow(t, Refund, authorized, euros(1))}, // in the processor's own words
	} {
		for _, o := range operations {
			before := r.done(t, o.kind)
			outcome, err := o.send(t.Context())
			require.NoError(t, err, "%s %s", code, o.kind)
			require.Equal(t, Refused, outcome.Verdict, "%s %s", code, o.kind)
			require.NotEmpty(t, outcome.DeclineCode)
			if code != "" {
				require.Equal(t, code, outcome.DeclineCode, o.kind)
			}
			require.Equal(t, before, r.done(t, o.kind), "%s %s", code, o.kind)
		}
	}
}

func spoiltExchanges(t *testing.T, r *rig) {
	for _, d := range disturbances {
		for _, kind := range kinds {
			about := d.name + ", " + string(kind)
			o := r.prepare(t, kind)
			before := r.done(t, kind)
			r.line.disturb(http.MethodPost, d, func() {
				outcome, err := o.send(t.Context())
				require.Error(t, err, about)
				require.Zero(t, outcome, about)
			})
			found, err := r.lookup(t, o)
			if d.arrives {
				require.NoError(t, err, about)
				require.Equal(t, Done, found.Verdict, about)
				require.Equal(t, before+1, r.done(t, kind), about)
			} else {
				require.ErrorIs(t, err, ErrUnknownKey, about)
				require.Equal(t, before, r.done(t, kind), about)
			}
			id := r.do(t, o)
			require.Equal(t, before+1, r.done(t, kind), about)
			if d.arrives {
				require.Equal(t, found.ProcessorID, id, about)
			}
		}
	}
}

func failedLookups(t *testing.T, r *rig) {
	for _, d := range disturbances {
		for _, kind := range kinds {
			o := r.prepare(t, kind)
			r.do(t, o)
			r.line.disturb(http.MethodGet, d, func() {
				found, err := r.lookup(t, o)
				require.Error(t, err, "%s, %s", d.name, kind)
				require.NotErrorIs(t, err, ErrUnknownKey, "%s, %s", d.name, kind)
				require.Zero(t, found)
			})
		}
	}
}

func reusedKeys(t *testing.T, r *rig) {
	charge := ChargeRequest{Payment: uuid.NewString(), Description: "order-1", PaymentMethod: r.card, Amount: euros(1000)}
	key := freshKey()
	first, err := r.Charge(t.Context(), key, charge)
	require.NoError(t, err)
	charge.Amount = euros(999)
	other := func(kind Kind, send func() (Outcome, error)) {
		before := r.done(t, kind)
		outcome, err := send()
		require.Error(t, err, "the key did do something: calling that a refusal would hide it")
		require.Zero(t, outcome)
		require.Equal(t, before, r.done(t, kind))
	}
	other(Charge, func() (Outcome, error) { return r.Charge(t.Context(), key, charge) })
	other(Authorize, func() (Outcome, error) { return r.Authorize(t.Context(), key, charge) })
	other(Refund, func() (Outcome, error) { return r.Refund(t.Context(), key, first.ProcessorID, euros(1000)) })
}

func unfinishedBusiness(t *testing.T, r *rig) {
	for _, kind := range []Kind{Charge, Refund} {
		o := r.prepare(t, kind)
		r.unfinished(t, func() {
			outcome, err := o.send(t.Context())
			require.ErrorIs(t, err, errPending)
			require.Zero(t, outcome)
		}, func() {
			found, err := r.lookup(t, o)
			require.ErrorIs(t, err, errPending)
			require.Zero(t, found)
		})
		var found Outcome
		require.Eventually(t, func() bool {
			var err error
			found, err = r.lookup(t, o)
			return err == nil
		}, 20*time.Second, 10*time.Millisecond)
		require.Equal(t, Done, found.Verdict)
	}
}

func forgottenKeys(t *testing.T, r *rig) {
	for _, kind := range kinds {
		o := r.prepare(t, kind)
		r.forgotten(t, func() { r.do(t, o) })
		found, err := r.lookup(t, o)
		require.NoError(t, err)
		require.Equal(t, Done, found.Verdict, kind)
	}
	// The control of the rig: it did forget, and this is what that costs.
	o := r.prepare(t, Charge)
	var once string
	r.forgotten(t, func() { once = r.do(t, o) })
	require.NotEqual(t, once, r.do(t, o), "past its horizon a key that is sent again charges again")
}

func oneKeyAtOnce(t *testing.T, r *rig) {
	for _, kind := range kinds {
		o := r.prepare(t, kind)
		before := r.done(t, kind)
		outcomes := make([]Outcome, 8)
		var senders sync.WaitGroup
		for i := range outcomes {
			senders.Go(func() {
				outcome, err := o.send(t.Context())
				if err == nil { // those that find it in progress do not know
					outcomes[i] = outcome
				}
			})
		}
		senders.Wait()
		require.Equal(t, before+1, r.done(t, kind), kind)
		id := r.do(t, o)
		for _, outcome := range outcomes {
			require.Contains(t, []Outcome{{}, {Verdict: Done, ProcessorID: id}}, outcome)
		}
	}
}

// oneCallOneSend: net/http repeats a request with an Idempotency-Key by itself
// when a kept connection breaks, and so would many a client library. Repeating
// an operation is the completer's.
func oneCallOneSend(t *testing.T, r *rig) {
	r.do(t, r.prepare(t, Charge)) // leaves a connection to reuse
	for _, d := range disturbances {
		o := r.begin(Charge, r.card, euros(1000))
		require.Equal(t, 1, r.line.disturb(http.MethodPost, d, func() {
			_, err := o.send(t.Context())
			require.Error(t, err, d.name)
		}), d.name)
	}
}

func recordsAreWhatWasDone(t *testing.T, r *rig) {
	began := time.Now().Add(-time.Minute)
	var want []Record
	note := func(o operation, id, payment string, verdict Verdict, code string) {
		want = append(want, Record{
			Key: o.key, ProcessorID: id, Payment: payment, Kind: o.kind,
			Verdict: verdict, DeclineCode: code, Amount: o.request.Amount,
		})
	}
	for _, kinds := range [][]Kind{{Charge, Refund, Refund}, {Authorize, Capture, Refund}, {Authorize, Void}, {Authorize}} {
		first := r.begin(kinds[0], r.card, euros(1000))
		id := r.do(t, first)
		note(first, id, first.payment, Done, "")
		for _, kind := range kinds[1:] {
			amount := euros(400)
			if kind == Void {
				amount = euros(1000)
			}
			o := r.follow(t, kind, id, amount)
			r.do(t, o)
			note(o, id, first.payment, Done, "")
		}
	}
	declined := r.begin(Charge, r.declines, euros(1000))
	_, err := declined.send(t.Context())
	require.NoError(t, err)
	note(declined, "", declined.payment, Refused, r.code)

	open := r.begin(Charge, r.card, euros(1000))
	note(open, "", open.payment, "", "")
	r.unfinished(t, func() {
		_, err := open.send(t.Context())
		require.ErrorIs(t, err, errPending)
	}, func() {
		requireRecords(t, want, r.records(t, began, time.Now().Add(time.Minute)))
	})
	require.Empty(t, r.records(t, began.Add(-time.Hour), began), "another time")
}

// records reads all pages.
func (r *rig) records(t *testing.T, since, until time.Time) (all []Record) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := r.Records(t.Context(), since, until, cursor)
		require.NoError(t, err)
		all = append(all, page...)
		if next == "" {
			return all
		}
		require.NotEqual(t, cursor, next)
		cursor = next
	}
}

// requireRecords compares them in whatever order they come, as far as a processor
// tells: it may not know the key of a void.
func requireRecords(t *testing.T, want, got []Record) {
	t.Helper()
	require.Len(t, got, len(want))
	for _, w := range want {
		found := slices.IndexFunc(got, func(g Record) bool {
			return g.Key == w.Key || (w.Kind == Void && g.Kind == Void && g.Key == "" && g.ProcessorID == w.ProcessorID)
		})
		require.GreaterOrEqual(t, found, 0, "%+v is not on record", w)
		g := got[found]
		require.WithinDuration(t, time.Now(), g.Time, time.Minute)
		g.Time, g.Key = time.Time{}, w.Key
		if w.ProcessorID == "" { // the answer did not name it
			g.ProcessorID = ""
		}
		require.Equal(t, w, g)
	}
}
