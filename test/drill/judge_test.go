package drill

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/test/invariants"
)

// broken are the checks of a verdict that did not hold.
func broken(v *Verdict) []string {
	var names []string
	for _, c := range v.Checks {
		if !c.Held {
			names = append(names, c.Name)
		}
	}
	return names
}

// each judges a good drill, and then the same with one thing changed at a time:
// each must break one check, and that one.
func each(t *testing.T, good func() *Verdict, judge func(*Verdict), changes map[string]func(*Verdict)) {
	t.Helper()
	v := good()
	judge(v)
	require.Empty(t, broken(v))
	for check, change := range changes {
		v := good()
		change(v)
		judge(v)
		require.Len(t, broken(v), 1, check)
		require.Contains(t, broken(v)[0], check)
	}
}

func TestTheSlowDrillSeesWhatDoesNotHold(t *testing.T) {
	good := func() *Verdict {
		return &Verdict{Phases: []Phase{
			{Traffic: placing, Name: whileOpen, Sent: 100, P90: 0.01},
			{Traffic: reading, Name: whileUnknown, Sent: 30, P99: 0.02},
		}}
	}
	opened, last := true, "closed"
	each(t, good, func(v *Verdict) { v.judgeSlow(opened, last) }, map[string]func(*Verdict){
		"what needs no payments does not fail": func(v *Verdict) { v.Phases[1].Failed = 1 },
		"a read's p99":                         func(v *Verdict) { v.Phases[1].P99 = 1 },
		"every order is accepted":              func(v *Verdict) { v.Phases[0].Failed = 1 },
		"nine of ten orders":                   func(v *Verdict) { v.Phases[0].P90 = 4 },
	})
	for _, breaker := range []struct {
		opened bool
		last   string
	}{{false, "closed"}, {true, "open"}} {
		v := good()
		v.judgeSlow(breaker.opened, breaker.last)
		require.Len(t, broken(v), 1)
		require.Contains(t, broken(v)[0], "the breaker opens")
	}
}

// TestTheSlowDrillKnowsHowLongAChargeTakes: its times follow from the policy.
func TestTheSlowDrillKnowsHowLongAChargeTakes(t *testing.T) {
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().ByName("PaymentsService"))
	require.NoError(t, err)
	charge, ok := policies.Lookup(paymentsv1.PaymentsService_ChargePayment_FullMethodName)
	require.True(t, ok)
	require.Equal(t, charge.Timeout, chargeTimeout)
}

func TestADrillThatIsEnduredSeesWhatDoesNotHold(t *testing.T) {
	good := func() *Verdict {
		return &Verdict{Sent: 100, Phases: []Phase{{Name: "during", Sent: 80, Retried: 7}, {Name: "after", Sent: 20}}}
	}
	history := []invariants.Attempt{{OK: true}, {Failure: "http 503 DRAINING: …", Refusal: "DRAINING"}, {Failure: "connection reset: …"}}
	each(t, good, func(v *Verdict) { v.judgeEndurance(history) }, map[string]func(*Verdict){
		"every order is placed": func(v *Verdict) { v.Phases[0].Failed = 1 },
		"the faults were felt":  func(v *Verdict) { v.Phases[0].Retried = 0 },
		"leave nothing behind":  func(v *Verdict) { v.Phases[1].Retried = 1 },
	})
	v := good()
	v.judgeEndurance(append(history, invariants.Attempt{Failure: "http 502: …"}))
	require.Len(t, broken(v), 1)
	require.Contains(t, broken(v)[0], "every refusal has a reason")
}

func TestTheOverloadDrillSeesWhatDoesNotHold(t *testing.T) {
	good := func() *Verdict {
		return &Verdict{Phases: []Phase{
			{Traffic: critical, Name: "before", Sent: 40, P90: 0.2},
			{Traffic: critical, Name: "during", Sent: 80, P90: 0.4},
			{Traffic: critical, Name: "after", Sent: 40, P90: 0.2},
			{Traffic: sheddable, Name: "during", Sent: 80, Failed: 50, Kinds: map[string]int64{"http 503 OVERLOADED": 50}},
			{Traffic: flood, Name: "during", Sent: 800, Failed: 700, Kinds: map[string]int64{"grpc UNAVAILABLE OVERLOADED": 700}},
			{Traffic: sheddable, Name: "after", Sent: 40},
		}}
	}
	each(t, good, (*Verdict).judgeOverload, map[string]func(*Verdict){
		"critical requests go on": func(v *Verdict) { v.Phases[1].Failed = 9 },
		"and soon":                func(v *Verdict) { v.Phases[1].P90 = 0.9 },
		"it was an overload":      func(v *Verdict) { v.Phases[4].Failed, v.Phases[4].Kinds = 100, nil },
		"each refusal is one":     func(v *Verdict) { v.Phases[3].Kinds[noTimeToComeBack] = 1 },
		"two seconds after":       func(v *Verdict) { v.Phases[2].Failed = 1 },
		"after the flood all is":  func(v *Verdict) { v.Phases[5].Failed = 1 },
		"flood all is as before":  func(v *Verdict) { v.Phases[2].P90 = 0.5 },
	})
}

func TestEveryDrillHasASabotageAndSaysWhatItDoes(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range All() {
		require.False(t, seen[d.Name], d.Name)
		seen[d.Name] = true
		require.NotEmpty(t, d.Short)
		require.NotEmpty(t, d.Long)
		require.NotEmpty(t, d.Rate)
		require.NotEmpty(t, d.Sabotages)
		require.NoError(t, d.Defaults.Validate())
		for _, s := range d.Sabotages {
			require.NotEmpty(t, s.Means)
			parsed, err := ParseSabotage(d.Name, string(s.Sabotage))
			require.NoError(t, err)
			require.Equal(t, s.Sabotage, parsed)
		}
		_, err := ParseSabotage(d.Name, "luck")
		require.ErrorContains(t, err, d.Name+" knows")
	}
	require.Empty(t, Sabotages("nothing"))
}
