package orders

import (
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

var (
	noon  = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Minute)
)

func usd(cents int64) money.Amount { return money.Amount{Currency: "USD", Minor: cents} }

func draft(lines ...Line) Draft {
	return Draft{ID: uuid.New(), Tenant: "acme", Lines: lines, PaymentMethod: "pm_card_ok", ChargeKey: "charge", Now: noon}
}

// placed is an order of two espresso cups in the given state.
func placed(t require.TestingT, state State) *Order {
	o, err := NewOrder(draft(Line{"espresso-cup", 2, usd(1200)}))
	require.NoError(t, err)
	payment := uuid.New()
	switch state {
	case PendingPayment:
	case Paid:
		require.NoError(t, o.Pay(payment, noon))
	case PaymentFailed:
		require.NoError(t, o.FailPayment(&payment, "card_declined", noon))
	case Cancelling:
		require.NoError(t, o.Cancel(noon))
	case Cancelled:
		require.NoError(t, o.Cancel(noon))
		require.NoError(t, o.FinishCancelling(nil, noon))
	}
	return o
}

// act is a transition by the name of the state that it leads to.
func act(o *Order, to State) error {
	payment := uuid.New()
	switch to {
	case Paid:
		return o.Pay(payment, later)
	case PaymentFailed:
		return o.FailPayment(&payment, "card_declined", later)
	case Cancelling:
		return o.Cancel(later)
	default:
		return o.FinishCancelling(&payment, later)
	}
}

func TestEveryTransitionIsAllowedOrRefused(t *testing.T) {
	allowed := map[State]map[State]bool{
		PendingPayment: {Paid: true, PaymentFailed: true, Cancelling: true},
		Paid:           {Cancelling: true},
		PaymentFailed:  {},
		Cancelling:     {Cancelled: true},
		Cancelled:      {},
	}
	for from, targets := range allowed {
		for _, to := range []State{Paid, PaymentFailed, Cancelling, Cancelled} {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				o := placed(t, from)
				before := *o
				err := act(o, to)
				if targets[to] {
					require.NoError(t, err)
					require.Equal(t, to, o.State())
					require.Equal(t, before.version+1, o.Version())
					require.Equal(t, later, o.updateTime)
					return
				}
				var refused *StateError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, StateError{From: from, To: to}, *refused)
				require.Equal(t, before, *o, "a refused transition changes nothing")
			})
		}
	}
}

func TestTotals(t *testing.T) {
	for name, test := range map[string]struct {
		lines []Line
		total money.Amount
		err   error
	}{
		"one line":             {lines: []Line{{"a", 3, usd(250)}}, total: usd(750)},
		"several lines":        {lines: []Line{{"a", 1, usd(100)}, {"b", 10_000, usd(1)}}, total: usd(10_100)},
		"the most there is":    {lines: []Line{{"a", 1, usd(math.MaxInt64)}}, total: usd(math.MaxInt64)},
		"no line":              {err: ErrNoLines},
		"line beyond int64":    {lines: []Line{{"a", 2, usd(math.MaxInt64)}}, err: money.ErrOverflow},
		"sum beyond int64":     {lines: []Line{{"a", 1, usd(math.MaxInt64)}, {"b", 1, usd(1)}}, err: money.ErrOverflow},
		"different currencies": {lines: []Line{{"a", 1, usd(1)}, {"b", 1, money.Amount{Currency: "JPY", Minor: 1}}}, err: money.ErrCurrency},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := NewOrder(draft(test.lines...))
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.total, o.Total())
		})
	}
	for name, line := range map[string]Line{
		"no quantity":       {"a", 0, usd(1)},
		"negative quantity": {"a", -1, usd(1)},
		"no price":          {"a", 1, usd(0)},
		"negative price":    {"a", 1, usd(-1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewOrder(draft(line))
			require.Error(t, err)
		})
	}
}

func TestEditIsAppliedOnceHoweverOftenItIsSent(t *testing.T) {
	o := placed(t, PendingPayment)
	edit := Edit{ShippingNote: new("ring twice")}

	changed, err := o.Edit(1, edit, later)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, int64(2), o.Version())

	changed, err = o.Edit(1, edit, later)
	require.NoError(t, err, "the repeat finds its own result")
	require.False(t, changed)
	require.Equal(t, int64(2), o.Version())

	require.NoError(t, o.Pay(uuid.New(), later))
	changed, err = o.Edit(1, edit, later)
	require.NoError(t, err, "also after the order moved on otherwise")
	require.False(t, changed)
}

func TestEditFromAnOlderVersionIsRefused(t *testing.T) {
	note := func(s string) Edit { return Edit{ShippingNote: &s} }
	for name, test := range map[string]struct {
		from int64
		edit Edit
	}{
		"another edit from the same version":  {1, note("something else")},
		"the same result from a version gone": {2, note("ring twice")},
		"a version that is yet to come":       {4, note("ring twice")},
		"no version":                          {-1, note("ring twice")},
	} {
		t.Run(name, func(t *testing.T) {
			o := placed(t, PendingPayment)
			require.NoError(t, o.Pay(uuid.New(), noon)) // version 2
			_, err := o.Edit(2, Edit{Email: new("a@example.com")}, noon)
			require.NoError(t, err)
			o.editedFrom = 1 // as if the edit of the note had been the last one
			o.contact.ShippingNote = "ring twice"
			before := *o
			_, err = o.Edit(test.from, test.edit, later)
			require.ErrorIs(t, err, ErrStaleEtag)
			require.Equal(t, before, *o)
		})
	}
}

func TestEditLeavesWhatItDoesNotName(t *testing.T) {
	o := placed(t, Paid)
	_, err := o.Edit(2, Edit{Email: new("a@example.com"), ShippingNote: new("ring")}, later)
	require.NoError(t, err)
	_, err = o.Edit(3, Edit{Email: new("")}, later)
	require.NoError(t, err)
	require.Equal(t, Contact{ShippingNote: "ring"}, o.contact)
	changed, err := o.Edit(4, Edit{ShippingNote: new("ring")}, later)
	require.NoError(t, err)
	require.False(t, changed, "an edit that changes nothing is not a change")
}

// TestWhateverHappensAnOrderStaysConsistent plays random events against an
// order and holds it to what is true of every order.
func TestWhateverHappensAnOrderStaysConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := placed(t, PendingPayment)
		total, lines := o.Total(), o.lines
		events := rapid.SliceOf(rapid.SampledFrom([]State{Paid, PaymentFailed, Cancelling, Cancelled, "edit"})).Draw(t, "events")
		for _, event := range events {
			before := *o
			var err error
			if event == "edit" {
				note := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "note")
				from := rapid.Int64Range(0, before.version+1).Draw(t, "from")
				_, err = o.Edit(from, Edit{ShippingNote: &note}, later)
				require.Equal(t, before.state, o.state, "an edit is no transition")
			} else {
				err = act(o, event)
			}
			if err != nil {
				require.Equal(t, before, *o)
				continue
			}
			require.LessOrEqual(t, o.version-before.version, int64(1), "one change, one version")
			require.False(t, o.updateTime.Before(before.updateTime))
			require.Equal(t, total, o.Total())
			require.Equal(t, lines, o.lines)
			if before.state == PaymentFailed || before.state == Cancelled {
				require.Equal(t, before.state, o.state, "final is final")
			}
			if o.state == Paid {
				require.NotNil(t, o.paymentID, "a paid order names its payment")
				require.Empty(t, o.declineCode)
			}
		}
	})
}

func TestPriceNamesEveryLineThatCannotBeOrdered(t *testing.T) {
	catalogue := map[string]Product{
		"beans":  {"beans", "Beans", usd(2490)},
		"cup":    {"cup", "Cup", usd(1200)},
		"siphon": {"siphon", "Siphon", money.Amount{Currency: "JPY", Minor: 15_800}},
	}
	lines, err := Price([]Wanted{{"beans", 1}, {"cup", 2}}, catalogue)
	require.NoError(t, err)
	require.Equal(t, []Line{{"beans", 1, usd(2490)}, {"cup", 2, usd(1200)}}, lines)

	_, err = Price([]Wanted{{"beans", 1}, {"tea", 1}, {"siphon", 1}, {"milk", 1}}, catalogue)
	require.ErrorIs(t, err, ErrUnknownProduct)
	require.ErrorIs(t, err, ErrMixedCurrencies)
	for _, product := range []string{"tea", "siphon", "milk"} {
		require.ErrorContains(t, err, product)
	}
	require.NotContains(t, err.Error(), "beans")
}
