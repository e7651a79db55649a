package sandbox

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newLedger(t *testing.T) *Ledger {
	t.Helper()
	l, err := OpenLedger(filepath.Join(t.TempDir(), "ledger.db"), time.Hour)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func chargeOf(reference string, amount int64) Request {
	return Request{Kind: KindCharge, Reference: reference, Amount: amount, Currency: "EUR", PaymentMethod: "pm_card_ok"}
}

func do(t *testing.T, l *Ledger, key string, r Request) Operation {
	t.Helper()
	o, _, err := l.Perform(key, r, Fault{})
	require.NoError(t, err)
	return o
}

func operations(t *testing.T, l *Ledger) []Operation {
	t.Helper()
	var all []Operation
	require.NoError(t, l.Each(func(o Operation) error {
		all = append(all, o)
		return nil
	}))
	return all
}

func TestAKeyIsPerformedOnceHoweverOftenItIsSentAtOnce(t *testing.T) {
	l := newLedger(t)
	var senders sync.WaitGroup
	answers := make([]Operation, 20)
	for i := range answers {
		senders.Go(func() {
			o, _, err := l.Perform("k1", chargeOf("order-1", 500), Fault{})
			if err == nil {
				answers[i] = o
			}
		})
	}
	senders.Wait()
	require.Len(t, operations(t, l), 1)
	for _, o := range answers {
		require.Equal(t, answers[0], o)
	}
}

func TestAKeyWithAnotherRequestIsRefused(t *testing.T) {
	l := newLedger(t)
	do(t, l, "k1", chargeOf("order-1", 500))
	_, _, err := l.Perform("k1", chargeOf("order-1", 501), Fault{})
	require.Equal(t, "key_reused", refusalCode(err))
	authorize := chargeOf("order-1", 500)
	authorize.Kind = KindAuthorize
	_, _, err = l.Perform("k1", authorize, Fault{})
	require.Equal(t, "key_reused", refusalCode(err))
}

func TestPastItsHorizonAKeyIsForgottenButStillFound(t *testing.T) {
	l := newLedger(t)
	now := time.Now()
	l.now = func() time.Time { return now }
	do(t, l, "k1", chargeOf("order-1", 500))
	now = now.Add(59 * time.Minute)
	_, replayed, err := l.Perform("k1", chargeOf("order-1", 500), Fault{})
	require.NoError(t, err)
	require.True(t, replayed)

	now = now.Add(2 * time.Minute)
	_, replayed, err = l.Perform("k1", chargeOf("order-1", 500), Fault{})
	require.NoError(t, err)
	require.False(t, replayed, "this is the double charge that a client must avoid")
	found, err := l.Lookup("k1")
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, 2, totals(operations(t, l))[0].Opened)
}

func TestLookupFindsTheKeyAndNoLongerOne(t *testing.T) {
	l := newLedger(t)
	do(t, l, "k1", chargeOf("order-1", 500))
	do(t, l, "k10", chargeOf("order-2", 500))
	found, err := l.Lookup("k1")
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "order-1", found[0].Reference)
	found, err = l.Lookup("k")
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestMoneyOnACharge(t *testing.T) {
	type step struct {
		kind     Kind
		amount   int64
		currency string
		refused  string
	}
	for name, test := range map[string]struct {
		open  Kind
		steps []step
		net   int64
	}{
		"an authorization takes nothing":         {KindAuthorize, nil, 0},
		"a charge takes all":                     {KindCharge, nil, 1000},
		"a capture takes what it says":           {KindAuthorize, []step{{KindCapture, 700, "EUR", ""}}, 700},
		"a capture is once":                      {KindAuthorize, []step{{KindCapture, 700, "EUR", ""}, {KindCapture, 300, "EUR", "wrong_state"}}, 700},
		"never more than authorized":             {KindAuthorize, []step{{KindCapture, 1001, "EUR", "amount_too_large"}}, 0},
		"a void releases":                        {KindAuthorize, []step{{KindVoid, 0, "", ""}, {KindCapture, 1000, "EUR", "wrong_state"}}, 0},
		"a charge is not voided":                 {KindCharge, []step{{KindVoid, 0, "", "wrong_state"}}, 1000},
		"refunds add up":                         {KindCharge, []step{{KindRefund, 400, "EUR", ""}, {KindRefund, 600, "EUR", ""}}, 0},
		"refunds never exceed captures":          {KindCharge, []step{{KindRefund, 400, "EUR", ""}, {KindRefund, 601, "EUR", "amount_too_large"}}, 600},
		"an authorization has nothing to refund": {KindAuthorize, []step{{KindRefund, 1, "EUR", "amount_too_large"}}, 0},
		"one currency":                           {KindCharge, []step{{KindRefund, 400, "USD", "currency_mismatch"}}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			request := chargeOf("order-1", 1000)
			request.Kind = test.open
			opened := do(t, l, "open", request)
			for i, s := range test.steps {
				_, _, err := l.Perform("step-"+string(rune('a'+i)), Request{Kind: s.kind, Charge: opened.Charge, Amount: s.amount, Currency: s.currency}, Fault{})
				require.Equal(t, s.refused, refusalCode(err), "%v", err)
				if s.refused == "" {
					require.NoError(t, err)
				}
			}
			require.Equal(t, test.net, totals(operations(t, l))[0].NetCaptured)
		})
	}
}

func TestARefusalRecordsNothing(t *testing.T) {
	l := newLedger(t)
	for name, r := range map[string]Request{
		"no such charge": {Kind: KindRefund, Charge: "ch_none", Amount: 1, Currency: "EUR"},
		"no amount":      chargeOf("order-1", 0),
		"negative":       chargeOf("order-1", -1),
		"a card number":  {Kind: KindCharge, Reference: "r", Amount: 1, Currency: "EUR", PaymentMethod: "4242424242424242"},
		"a lookup":       {Kind: KindLookup},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := l.Perform("k1", r, Fault{})
			require.NotEmpty(t, refusalCode(err))
			require.Empty(t, operations(t, l))
		})
	}
	do(t, l, "k1", chargeOf("order-1", 500)) // nor is the key used up
}

func TestADelayedSuccessIsPendingAndThenSucceeds(t *testing.T) {
	l := newLedger(t)
	now := time.Now()
	l.now = func() time.Time { return now }
	o, _, err := l.Perform("k1", chargeOf("order-1", 500), Fault{Kind: FaultSettleLater, Delay: Duration(time.Minute)})
	require.NoError(t, err)
	require.Equal(t, StatusPending, o.Status)
	require.Zero(t, totals(operations(t, l))[0].NetCaptured)
	_, _, err = l.Perform("k2", Request{Kind: KindRefund, Charge: o.Charge, Amount: 1, Currency: "EUR"}, Fault{})
	require.Equal(t, "charge_pending", refusalCode(err))

	now = now.Add(time.Minute)
	found, err := l.Lookup("k1")
	require.NoError(t, err)
	require.Equal(t, StatusSucceeded, found[0].Status)
	require.Equal(t, int64(500), totals(operations(t, l))[0].NetCaptured)
}
