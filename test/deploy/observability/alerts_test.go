package observability

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Series that scenarios change. All are of one replica of orders.
const (
	of         = `job="orders",instance="a:8081"`
	calls      = `rpc_server_call_duration_seconds_count{` + of + `,rpc_method="CreateOrder",rpc_response_status_code="`
	fine       = calls + `OK"}`
	faults     = calls + `INTERNAL"}`
	mistakes   = calls + `INVALID_ARGUMENT"}`
	quick      = `rpc_server_call_duration_seconds_bucket{` + of + `,rpc_method="CreateOrder",rpc_response_status_code="OK",le="0.5"}`
	up         = `up{` + of + `}`
	ready      = `holdfast_ready{` + of + `}`
	alive      = `holdfast_alive{` + of + `}`
	starting   = `holdfast_state{` + of + `,state="starting"}`
	draining   = `holdfast_state{` + of + `,state="draining"}`
	started    = `process_start_time_seconds{` + of + `}`
	version1   = `holdfast_build_info{` + of + `,version="v1"}`
	version2   = `holdfast_build_info{job="orders",instance="b:8081",version="v2"}`
	dependency = `holdfast_dependency_up{` + of + `,dependency="postgres"}`
	undecided  = `holdfast_idempotency_undecided{` + of + `}`
	oldest     = `holdfast_idempotency_undecided_age_seconds{` + of + `}`
	refused    = `holdfast_idempotency_missing_partitions_total{` + of + `}`
	partitions = `holdfast_idempotency_partitions_until_timestamp_seconds{` + of + `}`
	maintained = `holdfast_idempotency_maintained_timestamp_seconds{` + of + `}`
	reconciled = `holdfast_reconciliation_completed_timestamp_seconds{job="payments",instance="c:8081"}`
	differ     = `holdfast_reconciliation_open_findings{job="payments",instance="c:8081",kind="duplicate_at_processor"}`
	inUse      = `pgxpool_acquired_connections{` + of + `}`
	most       = `pgxpool_max_connections{` + of + `}`
	waited     = `pgxpool_empty_acquire_wait_time_nanoseconds_total{` + of + `}`
	forced     = `holdfast_drains_total{` + of + `,forced="true"}`
	spent      = `holdfast_drain_spent_ratio{` + of + `}`
	open       = `holdfast_breaker_state{` + of + `,dependency="payments",state="open"}`
	probing    = `holdfast_breaker_state{` + of + `,dependency="payments",state="half-open"}`
	forcedOpen = `holdfast_breaker_state{` + of + `,dependency="payments",state="forced_open"}`
	shed       = `holdfast_shed_requests_total{` + of + `,outcome="shed",criticality="critical",reason="queue_full"}`
	shedFirst  = `holdfast_shed_requests_total{` + of + `,outcome="shed",criticality="sheddable",reason="queue_full"}`
)

// Series of one replica of llm-gateway.
const (
	ofLLM       = `job="llm-gateway",instance="d:8081"`
	answered    = `holdfast_llm_requests_total{` + ofLLM + `,route="gpt",protocol="openai",outcome="ok"}`
	unanswered  = `holdfast_llm_requests_total{` + ofLLM + `,route="gpt",protocol="openai",outcome="DEPENDENCY_UNAVAILABLE"}`
	wrongly     = `holdfast_llm_requests_total{` + ofLLM + `,route="gpt",protocol="openai",outcome="INVALID_FIELD"}`
	unknown     = `holdfast_llm_unknown_attempts{` + ofLLM + `}`
	unknownNext = `holdfast_llm_unknown_attempts{job="llm-gateway",instance="e:8081"}`
	lowered     = `holdfast_llm_lowered_total{` + ofLLM + `,route="gpt"}`
	overBudget  = `holdfast_llm_reservations_total{` + ofLLM + `,outcome="over_budget"}`
	rejected    = `holdfast_llm_file_failing{` + ofLLM + `,file="routes"}`
	written     = `rpc_server_call_duration_seconds_count{` + ofLLM + `,rpc_method="holdfast.llm.v1.LLMGatewayService/Generate",rpc_response_status_code="OK"}`
	writtenSoon = `rpc_server_call_duration_seconds_bucket{` + ofLLM + `,rpc_method="holdfast.llm.v1.LLMGatewayService/Generate",rpc_response_status_code="OK",le="0.5"}`
)

const day = 24 * 3600

// healthy is a platform in which all is well: ten orders a second.
func healthy() series {
	s := series{
		fine: climbs(600), faults: climbs(0), mistakes: climbs(30), quick: climbs(620),
		up: flat(1), ready: flat(1), alive: flat(1), starting: flat(0), draining: flat(0), started: flat(1000),
		version1: flat(1), dependency: flat(1),
		undecided: turns(0, 2, 3), oldest: turns(0, 4, 3), refused: climbs(0),
		partitions: flat(minutes*60 + 3*day), maintained: climbs(60),
		differ: flat(0), reconciled: climbs(60),
		inUse: flat(3), most: flat(10), waited: climbs(1e6),
		forced: climbs(0), spent: flat(0),
		open: flat(0), probing: flat(0), forcedOpen: flat(0), shed: climbs(0), shedFirst: climbs(0),
	}
	// A gateway to models has answers that take seconds, a provider that fails now
	// and then, and a few attempts that nobody will ever know of.
	for name, shape := range (series{
		strings.Replace(up, of, ofLLM, 1): flat(1), strings.Replace(ready, of, ofLLM, 1): flat(1),
		answered: climbs(60), unanswered: climbs(0.1), wrongly: climbs(5), unknown: turns(2, 5, 20),
		lowered: climbs(0), overBudget: climbs(0), rejected: flat(0), written: climbs(60), writtenSoon: climbs(0),
	}) {
		s[name] = shape
	}
	// Payments are always well, and most of their series say nothing new.
	for _, name := range []string{up, ready, undecided, oldest, maintained, partitions, fine, quick} {
		s[strings.Replace(name, of, `job="payments",instance="c:8081"`, 1)] = s[name]
	}
	return s
}

// scenarios are what happens to orders, and the alerts that must fire: these and
// no others. A shape that is empty takes a series away.
var scenarios = []struct {
	name    string
	changes series
	fires   []string
}{
	{"all is well", nil, nil},

	{"every fiftieth call fails for over an hour", series{faults: climbsThen(0, 12, 70)}, []string{"ErrorBudgetBurnFast"}},
	{"every hundredth call fails for six hours", series{faults: climbsThen(0, 6, 370)}, []string{"ErrorBudgetBurnFast"}},
	{"two calls in a thousand fail for days", series{faults: climbs(1.2)}, []string{"ErrorBudgetBurnSlow"}},
	{"four calls in a thousand fail for a day", series{faults: climbsThen(0, 2.4, 24*60)}, []string{"ErrorBudgetBurnSlow"}},
	{"a bad quarter of an hour that is over", series{faults: shape("0x4405 60+60x14 900x19")}, nil},
	{"clients get it wrong half of the time", series{mistakes: climbs(600), quick: climbs(1190)}, nil},

	{"every fifth call is slow", series{quick: climbsThen(620, 500, 40)}, []string{"SlowRequests"}},
	{"a slow minute", series{quick: climbsThen(620, 0, 1)}, nil},

	{"a key stays undecided", series{undecided: turns(0, 1, 10), oldest: turns(0, 300, 10)}, []string{"UndecidedBacklog"}},
	{"a crash that is finished within a minute", series{undecided: turns(0, 5, 2), oldest: turns(0, 50, 2)}, nil},
	{"nobody sweeps", series{undecided: flat(0).gone(20), oldest: flat(0).gone(20)}, []string{"CompleterSilent"}},
	{"nobody sweeps because nobody is ready yet", series{
		undecided: flat(0).gone(20), oldest: flat(0).gone(20), ready: turns(1, 0, 20),
	}, nil},

	{"keys are refused", series{refused: climbsThen(0, 1, 3)}, []string{"PartitionsMissing"}},
	{"the first key is refused", series{refused: turns(0, 1, 3)}, []string{"PartitionsMissing"}},
	{"partitions end today", series{partitions: flat(minutes*60 + day/2)}, []string{"PartitionsMissing"}},
	{"partitions end today, and whoever knew was restarted", series{
		partitions: flat(minutes*60 + day/2).gone(60),
	}, []string{"PartitionsMissing"}},
	{"maintenance has failed for four hours", series{maintained: flat((minutes - 240) * 60)}, []string{"HousekeepingFailing"}},
	{"maintenance has never succeeded", series{maintained: ""}, []string{"HousekeepingFailing"}},
	{"whoever ran maintenance was restarted an hour ago", series{maintained: climbs(60).gone(60)}, nil},
	{"a service that is new has not maintained yet", series{
		maintained: "", undecided: shape("_x4400 0x39"), oldest: shape("_x4400 0x39"),
	}, nil},

	{"the processor has a charge twice", series{differ: turns(0, 1, 20)}, []string{"BooksDiffer"}},
	{"the books have not been compared for five hours", series{reconciled: flat((minutes - 300) * 60)}, []string{"ReconciliationLate"}},
	{"the books have never been compared", series{reconciled: flat(0)}, []string{"ReconciliationLate"}},
	{"a platform that is new has not compared its books yet", series{reconciled: shape("_x4400 0x39")}, nil},
	{"a finding that heals", series{differ: turns(0, 1, 2)}, nil},

	{"attempts become unknown, and more of them", series{unknown: shape("2x4400 2+3x39")}, []string{"LLMUnknownAttemptsGrow"}},
	{"attempts become unknown on a replica that is new", series{unknown: flat(2).gone(20), unknownNext: shape("_x4419 2+3x20")}, []string{"LLMUnknownAttemptsGrow"}},
	{"many are unknown, and no more than before", series{unknown: flat(500)}, nil},
	{"unknown attempts are found out about", series{unknown: shape("2x4400 2 30 60 20 2x34")}, nil},
	{"nobody looks after unknown attempts", series{unknown: flat(2).gone(20)}, []string{"CompleterSilent"}},
	{"a budget has room for shorter answers only", series{lowered: climbsThen(0, 1, 3)}, []string{"LLMBudgetNearlySpent"}},
	{"a budget has no room", series{overBudget: climbsThen(0, 1, 3)}, []string{"LLMBudgetNearlySpent"}},
	{"no target of a route answers", series{answered: climbsThen(60, 0, 12), unanswered: climbsThen(0, 60, 12)}, []string{"LLMRouteDown"}},
	{"every second request finds no target", series{unanswered: climbsThen(0, 60, 12)}, nil},
	{"nobody asks", series{answered: climbsThen(60, 0, 12), unanswered: climbs(0)}, nil},
	{"all that is asked is wrong", series{answered: climbsThen(60, 0, 12), unanswered: climbs(0), wrongly: climbsThen(5, 60, 12)}, nil},
	{"a file of routes cannot be used", series{rejected: turns(0, 1, 10)}, []string{"LLMFileRejected"}},
	{"a file is put right at once", series{rejected: turns(0, 1, 2)}, nil},
	{"a model takes long", series{written: climbs(600)}, nil},

	{"every connection is in use", series{inUse: turns(3, 10, 20)}, []string{"PoolExhausted"}},
	{"two requests always wait", series{waited: climbsThen(1e6, 120e9, 20)}, []string{"PoolExhausted"}},
	{"a burst takes every connection", series{inUse: turns(3, 10, 2)}, nil},

	{"a replica does not answer", series{up: turns(1, 0, 5)}, []string{"TargetDown"}},
	{"a service has no replica", series{up: flat(1).gone(10)}, []string{"TargetDown"}},
	{"one scrape fails", series{up: turns(1, 0, 0)}, nil},
	{"the database does not answer", series{dependency: turns(1, 0, 3)}, []string{"DependencyDown"}},
	{"a replica starts for ever", series{starting: turns(0, 1, 10), ready: turns(1, 0, 10)}, []string{"ReplicaStuck"}},
	{"a loop is stuck", series{alive: turns(1, 0, 6)}, []string{"ReplicaStuck"}},
	{"a replica starts again and again", series{started: shape("1000x4428 2000x2 3000x2 4000x6")}, []string{"ReplicaStuck"}},
	{"a replica is restarted once", series{started: turns(1000, 2000, 5)}, nil},
	{"a replica takes a minute to start", series{starting: turns(0, 1, 1), ready: turns(1, 0, 1)}, nil},
	{"a replica was drained on purpose", series{draining: turns(0, 1, 90), ready: turns(1, 0, 90)}, nil},
	{"a drain is forced", series{forced: turns(0, 1, 5)}, []string{"DrainForced"}},
	{"a process is gone with its drain nearly out of time", series{spent: once(0, 0.8, 4)}, []string{"DrainForced"}},
	{"a drain takes a moment", series{spent: once(0, 0.3, 4)}, nil},
	{"a breaker stays open", series{open: turns(0, 1, 10)}, []string{"BreakerOpen"}},
	{"a breaker opens, probes, and opens again", series{
		open: shape("0x4427 1 0 1 0 1 0 1 0 1 0 1 0 1"), probing: shape("0x4427 0 1 0 1 0 1 0 1 0 1 0 1 0"),
	}, []string{"BreakerOpen"}},
	{"a breaker was forced open and forgotten", series{forcedOpen: turns(0, 1, 10)}, []string{"BreakerOpen"}},
	{"a breaker does its work for a minute", series{open: turns(0, 1, 1)}, nil},
	{"critical requests are shed", series{shed: climbsThen(0, 60, 15)}, []string{"CriticalRequestsShed"}},
	{"what is least critical is shed", series{shedFirst: climbsThen(0, 600, 15)}, nil},
	{"two versions serve for long", series{version2: flat(1)}, []string{"VersionSkew"}},
	{"a rolling release", series{version2: shape("_x4420 1x19")}, nil},
}

func TestEachAlertFiresWhenItShouldAndOnlyThen(t *testing.T) {
	for _, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			all := healthy()
			for name, shape := range scenario.changes {
				if all[name] = shape; shape == "" {
					delete(all, name)
				}
			}
			got, said := fires(t, folder+"/alerts.yml", all)
			require.Equal(t, scenario.fires, got, said)
			require.NotContains(t, said, "error expanding", "a text of an alert cannot be written")
		})
	}
}

func TestEachAlertHasAScenario(t *testing.T) {
	firing := set{}
	for _, scenario := range scenarios {
		firing = firing.with(scenario.fires...)
	}
	for _, rule := range alerts(t) {
		if rule.Alert != "" {
			require.True(t, firing[rule.Alert], "no scenario makes %s fire", rule.Alert)
		}
	}
}

// TestAnAlertWithAWrongThresholdIsNoticed is the control: rules that are blunted
// do not fire in the scenario that is theirs, and rules that are too sharp fire
// where all is well.
func TestAnAlertWithAWrongThresholdIsNoticed(t *testing.T) {
	text := string(read(t, folder+"/alerts.yml"))
	spoilt := func(from, to string) string {
		require.Contains(t, text, from)
		file := filepath.Join(t.TempDir(), "alerts.yml")
		require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, from, to)), 0o644))
		return file
	}
	trouble := healthy()
	trouble[oldest], trouble[faults] = turns(0, 300, 10), climbsThen(0, 12, 70)
	got, _ := fires(t, folder+"/alerts.yml", trouble)
	require.Equal(t, []string{"ErrorBudgetBurnFast", "UndecidedBacklog"}, got)

	got, _ = fires(t, spoilt("undecided_age_seconds) > 60", "undecided_age_seconds) > 6000"), trouble)
	require.NotContains(t, got, "UndecidedBacklog")
	got, _ = fires(t, spoilt("INTERNAL|", ""), trouble)
	require.NotContains(t, got, "ErrorBudgetBurnFast")
	got, _ = fires(t, spoilt("undecided_age_seconds) > 60", "undecided_age_seconds) >= 0"), healthy())
	require.True(t, slices.Contains(got, "UndecidedBacklog"), "fires where all is well: %v", got)
}
