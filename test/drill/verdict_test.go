package drill

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

func goodReport() load.Report {
	return load.Report{Phases: []load.PhaseReport{
		{Name: "before", Sent: 100, P50: 8 * time.Millisecond, P99: time.Second, Max: 1100 * time.Millisecond},
		{Name: "during", Sent: 900, Replayed: 70, Transparent: 3},
	}}
}

func goodWatches() load.Report {
	return load.Report{Phases: []load.PhaseReport{{Name: "during", Sent: 30}}}
}

func verdictOf(report load.Report, drains []Drain, audit invariants.Result) *Verdict {
	return judge(RollingName, Options{Seed: 42}, []seen{{"", report}, {watches, goodWatches()}}, drains, audit, 30*time.Second)
}

func TestADrillPassesOnlyIfNothingIsWrong(t *testing.T) {
	drained := []Drain{{Replica: "orders-1", Took: 1.6}}
	failed := goodReport()
	failed.Phases[1].Failed = map[string]int64{load.Refused: 1}
	require.True(t, verdictOf(goodReport(), drained, invariants.Result{}).Passed)
	for name, verdict := range map[string]*Verdict{
		"a request failed":      verdictOf(failed, drained, invariants.Result{}),
		"a replica did not end": verdictOf(goodReport(), []Drain{{Replica: "orders-1", Problem: "exit status 1"}}, invariants.Result{}),
		"an invariant broke":    verdictOf(goodReport(), drained, invariants.Result{Violations: []invariants.Violation{{Invariant: 1}}}),
		"nothing was sent":      judge(RollingName, Options{}, nil, drained, invariants.Result{}, time.Second),
		"a watch failed":        judge(RollingName, Options{}, []seen{{"", goodReport()}, {watches, failed}}, drained, invariants.Result{}, time.Second),
	} {
		require.False(t, verdict.Passed, name)
	}
}

func TestAVerdictSaysEverythingToPeopleAndToMachines(t *testing.T) {
	report := goodReport()
	report.Phases[1].Failed = map[string]int64{load.Refused: 2, load.Reset: 5}
	verdict := verdictOf(report, []Drain{{Replica: "orders-1", Took: 1.6, Problem: "stop orders-1: exit status 1"}},
		invariants.Result{Violations: []invariants.Violation{{Invariant: 2, Subject: "key k", Text: "is gone", History: []string{"client: OK"}}}})
	var text bytes.Buffer
	require.NoError(t, verdict.Render(&text))
	for _, part := range []string{
		"drill rolling", "FAILED", "1030", "5 connection reset", "2 connection refused", "p50 8ms", "p99 1s", "42",
		"stop orders-1: exit status 1", "invariant 2, key k: is gone", "client: OK",
	} {
		require.Contains(t, text.String(), part)
	}
	require.NotContains(t, text.String(), "\x1b", "no colours where there is no terminal")

	encoded, err := json.Marshal(verdict)
	require.NoError(t, err)
	var decoded map[string]any
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	require.Equal(t, false, decoded["passed"])
	require.EqualValues(t, 1030, decoded["sent"])
}
