package payments

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

var someTime = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func euros(minor int64) money.Amount { return money.Amount{Currency: "EUR", Minor: minor} }

// begun is a payment of 10.00 EUR whose first operation is open.
func begun(t interface{ Fatal(...any) }, kind Kind) *Payment {
	p, err := New(uuid.New(), "acme", "order-1", "pm_card_ok", euros(1000), kind, someTime)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// in brings a payment of 10.00 EUR to a state by the shortest way.
func in(t *testing.T, state State) *Payment {
	t.Helper()
	closed := func(kind Kind, o Outcome) *Payment {
		p := begun(t, kind)
		_, err := p.Close(o, someTime)
		require.NoError(t, err)
		return p
	}
	done := Outcome{Verdict: Done, ProcessorID: "ch_1"}
	switch state {
	case Processing:
		return begun(t, Charge)
	case Authorized:
		return closed(Authorize, done)
	case Captured:
		return closed(Charge, done)
	case Declined:
		return closed(Charge, Outcome{Verdict: Refused, DeclineCode: "card_declined"})
	case Failed:
		return closed(Charge, Outcome{Verdict: NeverDone})
	case Voided:
		p := closed(Authorize, done)
		require.NoError(t, p.BeginVoid(someTime))
		_, err := p.Close(done, someTime)
		require.NoError(t, err)
		return p
	case Refunded:
		p := closed(Charge, done)
		require.NoError(t, p.BeginRefund(nil, someTime))
		_, err := p.Close(done, someTime)
		require.NoError(t, err)
		return p
	}
	t.Fatalf("no way to %s", state)
	return nil
}

var allStates = []State{Processing, Authorized, Captured, Declined, Voided, Refunded, Failed}

func TestEveryStateCanBeReached(t *testing.T) {
	for _, state := range allStates {
		require.Equal(t, state, in(t, state).State)
	}
}

func TestOperationsBeginOnlyInTheirState(t *testing.T) {
	for kind, test := range map[Kind]struct {
		from  State
		begin func(*Payment) error
	}{
		Capture: {Authorized, func(p *Payment) error { return p.BeginCapture(nil, someTime) }},
		Void:    {Authorized, func(p *Payment) error { return p.BeginVoid(someTime) }},
		Refund:  {Captured, func(p *Payment) error { return p.BeginRefund(nil, someTime) }},
	} {
		for _, state := range allStates {
			t.Run(string(kind)+" when "+string(state), func(t *testing.T) {
				p := in(t, state)
				before := *p
				err := test.begin(p)
				switch state {
				case test.from:
					require.NoError(t, err)
					require.Equal(t, &Operation{Kind: kind, Amount: 1000}, p.Open)
					require.Equal(t, state, p.State, "nothing is known yet")
					require.ErrorIs(t, test.begin(p), ErrOperationOpen, "one at a time")
				case Processing:
					require.ErrorIs(t, err, ErrOperationOpen)
				default:
					require.ErrorIs(t, err, ErrWrongState)
				}
				if err != nil {
					require.Equal(t, before, *p, "a refusal changes nothing")
				}
			})
		}
	}
}

func TestClosing(t *testing.T) {
	type want struct {
		state              State
		captured, refunded int64
		entry              bool
		code               string
	}
	begin := map[Kind]func(t *testing.T) *Payment{
		Authorize: func(t *testing.T) *Payment { return begun(t, Authorize) },
		Charge:    func(t *testing.T) *Payment { return begun(t, Charge) },
		Capture: func(t *testing.T) *Payment {
			p := in(t, Authorized)
			require.NoError(t, p.BeginCapture(new(euros(600)), someTime))
			return p
		},
		Void: func(t *testing.T) *Payment {
			p := in(t, Authorized)
			require.NoError(t, p.BeginVoid(someTime))
			return p
		},
		Refund: func(t *testing.T) *Payment {
			p := in(t, Captured)
			require.NoError(t, p.BeginRefund(new(euros(400)), someTime))
			return p
		},
	}
	for kind, verdicts := range map[Kind]map[Verdict]want{
		Authorize: {
			Done:      {Authorized, 0, 0, false, ""},
			Refused:   {Declined, 0, 0, false, "no"},
			NeverDone: {Failed, 0, 0, false, ""},
		},
		Charge: {
			Done:      {Captured, 1000, 0, true, ""},
			Refused:   {Declined, 0, 0, false, "no"},
			NeverDone: {Failed, 0, 0, false, ""},
		},
		Capture: {
			Done:      {Captured, 600, 0, true, ""},
			Refused:   {Authorized, 0, 0, false, "no"},
			NeverDone: {Authorized, 0, 0, false, ""},
		},
		Void: {
			Done:      {Voided, 0, 0, false, ""},
			Refused:   {Authorized, 0, 0, false, "no"},
			NeverDone: {Authorized, 0, 0, false, ""},
		},
		Refund: {
			Done:      {Captured, 1000, 400, true, ""},
			Refused:   {Captured, 1000, 0, false, "no"},
			NeverDone: {Captured, 1000, 0, false, ""},
		},
	} {
		for verdict, want := range verdicts {
			t.Run(string(kind)+" "+string(verdict), func(t *testing.T) {
				p := begin[kind](t)
				o := Outcome{Verdict: verdict}
				if verdict == Refused {
					o.DeclineCode = "no"
				}
				entry, err := p.Close(o, someTime.Add(time.Second))
				require.NoError(t, err)
				require.Equal(t, want.state, p.State)
				require.Equal(t, want.captured, p.Captured)
				require.Equal(t, want.refunded, p.Refunded)
				require.Equal(t, want.code, p.DeclineCode)
				require.Equal(t, want.entry, entry != nil)
				require.Nil(t, p.Open)
				require.Equal(t, someTime.Add(time.Second), p.UpdateTime)
				_, err = p.Close(o, someTime)
				require.ErrorIs(t, err, ErrWrongState, "an operation closes once")
			})
		}
	}
}

func TestRefundsAreRefusedBeforeTheProcessorIsAsked(t *testing.T) {
	for name, test := range map[string]struct {
		amount money.Amount
		want   error
	}{
		"zero":             {euros(0), ErrAmount},
		"negative":         {euros(-1), ErrAmount},
		"one cent over":    {euros(601), ErrExceedsCapture},
		"another currency": {money.Amount{Currency: "USD", Minor: 1}, ErrCurrency},
		"all that is left": {euros(600), nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := in(t, Captured)
			require.NoError(t, p.BeginRefund(new(euros(400)), someTime))
			_, err := p.Close(Outcome{Verdict: Done}, someTime)
			require.NoError(t, err)
			require.ErrorIs(t, p.BeginRefund(&test.amount, someTime), test.want)
		})
	}
}

func TestCapturesAreRefusedBeforeTheProcessorIsAsked(t *testing.T) {
	for name, test := range map[string]struct {
		amount *money.Amount
		want   error
		opens  int64
	}{
		"zero":             {new(euros(0)), ErrAmount, 0},
		"negative":         {new(euros(-1)), ErrAmount, 0},
		"one cent over":    {new(euros(1001)), ErrExceedsAuthorization, 0},
		"another currency": {&money.Amount{Currency: "USD", Minor: 1}, ErrCurrency, 0},
		"a part":           {new(euros(1)), nil, 1},
		"all":              {new(euros(1000)), nil, 1000},
		"no amount is all": {nil, nil, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			p := in(t, Authorized)
			before := *p
			require.ErrorIs(t, p.BeginCapture(test.amount, someTime), test.want)
			if test.want != nil {
				require.Equal(t, before, *p, "a refusal changes nothing")
				return
			}
			require.Equal(t, &Operation{Kind: Capture, Amount: test.opens}, p.Open)
		})
	}
}

// TestOnlyWhatWasCapturedCanBeGivenBack: the bound of refunds is not what was
// authorized.
func TestOnlyWhatWasCapturedCanBeGivenBack(t *testing.T) {
	p := in(t, Authorized)
	require.NoError(t, p.BeginCapture(new(euros(600)), someTime))
	_, err := p.Close(Outcome{Verdict: Done}, someTime)
	require.NoError(t, err)
	require.ErrorIs(t, p.BeginRefund(new(euros(601)), someTime), ErrExceedsCapture)
	require.ErrorIs(t, p.BeginCapture(new(euros(400)), someTime), ErrWrongState, "the rest was released")
	require.ErrorIs(t, p.BeginVoid(someTime), ErrWrongState)
	require.NoError(t, p.BeginRefund(nil, someTime))
	require.Equal(t, int64(600), p.Open.Amount)
	entry, err := p.Close(Outcome{Verdict: Done}, someTime)
	require.NoError(t, err)
	require.Equal(t, int64(600), entry.Amount)
	require.Equal(t, Refunded, p.State)
}

func TestAPaymentNeedsAPositiveAmount(t *testing.T) {
	for _, minor := range []int64{0, -1} {
		_, err := New(uuid.New(), "acme", "order-1", "pm_card_ok", euros(minor), Charge, someTime)
		require.ErrorIs(t, err, ErrAmount)
	}
}

// Whatever is asked and however it ends, in any order: the ledger says what the
// payment says, and nobody gets back more than was taken.
func TestTheLedgerAlwaysAgreesWithThePayment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := begun(t, rapid.SampledFrom([]Kind{Authorize, Charge}).Draw(t, "kind"))
		balance := map[string]int64{}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				// A refusal changes nothing, like every one below.
				_ = p.BeginCapture(new(euros(rapid.Int64Range(-10, 1100).Draw(t, "part"))), someTime)
			case 1:
				_ = p.BeginVoid(someTime)
			case 2:
				_ = p.BeginRefund(new(euros(rapid.Int64Range(-10, 1100).Draw(t, "amount"))), someTime)
			case 3:
				verdict := rapid.SampledFrom([]Verdict{Done, Refused, NeverDone}).Draw(t, "verdict")
				if entry, err := p.Close(Outcome{Verdict: verdict}, someTime); err == nil && entry != nil {
					if entry.Amount <= 0 || entry.Debit == entry.Credit {
						t.Fatalf("entry %+v", entry)
					}
					balance[entry.Debit] += entry.Amount
					balance[entry.Credit] -= entry.Amount
				}
			}
			if p.Refunded > p.Captured || p.Captured > p.Amount.Minor {
				t.Fatalf("refunded %d, captured %d", p.Refunded, p.Captured)
			}
			if net := p.Captured - p.Refunded; balance["processor:EUR"] != net || balance["tenant:acme:EUR"] != -net {
				t.Fatalf("net %d, balances %v", net, balance)
			}
		}
	})
}
