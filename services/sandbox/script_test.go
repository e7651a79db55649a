package sandbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// strikes answers which of the keys meet a fault, sent in this order.
func strikes(t *testing.T, seed uint64, keys []string) map[string]FaultKind {
	t.Helper()
	l := newLedger(t)
	s, err := Script{Seed: seed, Rules: []Rule{
		{Fault: Fault{Kind: FaultDrop, When: After}, Rate: new(0.2)},
		{Fault: Fault{Kind: FaultError}, Rate: new(0.2)},
	}}.normal()
	require.NoError(t, err)
	require.NoError(t, l.SetScript(s))
	struck := map[string]FaultKind{}
	for _, key := range keys {
		f, err := l.NextFault(key, chargeOf("order", 1))
		require.NoError(t, err)
		struck[key] = f.Kind
	}
	return struck
}

func TestOneSeedMeetsTheSameKeysInAnyOrder(t *testing.T) {
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i)
	}
	forward := strikes(t, 7, keys)
	slices.Reverse(keys)
	require.Equal(t, forward, strikes(t, 7, keys))
	require.NotEqual(t, forward, strikes(t, 8, keys))

	count := map[FaultKind]int{}
	for _, kind := range forward {
		count[kind]++
	}
	require.InDelta(t, 20, count[FaultDrop], 12)
	require.InDelta(t, 16, count[FaultError], 12)
}

func TestRulesLimitWhatTheyStrike(t *testing.T) {
	never, charge := 0.0, chargeOf("order-1", 1)
	for name, test := range map[string]struct {
		rule    Rule
		request Request
		want    []bool // by send of one key
	}{
		"always":             {Rule{}, charge, []bool{true, true}},
		"never":              {Rule{Rate: &never}, charge, []bool{false, false}},
		"first send only":    {Rule{Sends: 1}, charge, []bool{true, false}},
		"so many times":      {Rule{Times: 2}, charge, []bool{true, true, false}},
		"another kind":       {Rule{Operations: []Kind{KindRefund}}, charge, []bool{false}},
		"another reference":  {Rule{Reference: "invoice-"}, charge, []bool{false}},
		"lookups only asked": {Rule{}, Request{Kind: KindLookup}, []bool{false}},
		"lookups":            {Rule{Operations: []Kind{KindLookup}}, Request{Kind: KindLookup}, []bool{true}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			test.rule.Fault = Fault{Kind: FaultUnavailable}
			require.NoError(t, l.SetScript(Script{Rules: []Rule{test.rule}}))
			for i, want := range test.want {
				f, err := l.NextFault("k1", test.request)
				require.NoError(t, err)
				require.Equal(t, want, f.Kind != "", "send %d", i+1)
			}
		})
	}
}

func TestANonsensicalScriptIsRefused(t *testing.T) {
	for name, r := range map[string]Rule{
		"no kind":           {},
		"unknown kind":      {Fault: Fault{Kind: "explode"}},
		"rate":              {Fault: Fault{Kind: FaultDrop}, Rate: new(1.5)},
		"operation":         {Fault: Fault{Kind: FaultDrop}, Operations: []Kind{"borrow"}},
		"side":              {Fault: Fault{Kind: FaultDrop, When: "during"}},
		"slow has no side":  {Fault: Fault{Kind: FaultSlow, When: After}},
		"negative delay":    {Fault: Fault{Kind: FaultSlow, Delay: Duration(-time.Second)}},
		"code of a timeout": {Fault: Fault{Kind: FaultTimeout, Code: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Script{Rules: []Rule{r}}.normal()
			require.Error(t, err)
		})
	}
}

func TestTheHeaderNamesAFault(t *testing.T) {
	for header, want := range map[string]Fault{
		"drop; when=after":             {Kind: FaultDrop, When: After},
		"slow; delay=300ms":            {Kind: FaultSlow, Delay: Duration(300 * time.Millisecond)},
		"decline; code=do_not_honor":   {Kind: FaultDecline, Code: "do_not_honor"},
		"timeout":                      {Kind: FaultTimeout, Delay: Duration(30 * time.Second)},
		"reset; when=before; delay=1s": {Kind: FaultReset, When: Before, Delay: Duration(time.Second)},
	} {
		f, err := ParseFault(header)
		require.NoError(t, err, header)
		require.Equal(t, want, f, header)
	}
	for _, header := range []string{"", "explode", "drop; side=after", "slow; delay=soon", ";;"} {
		_, err := ParseFault(header)
		require.Error(t, err, header)
	}
}

func TestEveryPaymentMethodOfTheTableWorks(t *testing.T) {
	for token := range PaymentMethods {
		first, again := cardFault(token, 1), cardFault(token, 2)
		if first.Kind == FaultDecline {
			require.Equal(t, first, again, "a card that declines declines again")
		} else {
			require.Empty(t, again.Kind, "%s: a retry gets through", token)
		}
	}
	require.Equal(t, "unknown_payment_method", cardFault("pm_no_such_card", 1).Code)
}
