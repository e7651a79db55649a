package observability

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
)

// minutes is how long every scenario is: more than the longest window of any
// rule. A sample a minute is enough for all of them.
const minutes = 74 * 60

// The end of a scenario is replayed: more of it than any rule waits, in steps of
// minutes, and coarser ones before.
const (
	replayed = 75
	finely   = 15
)

// shape is the samples of a series over a scenario, as promtool writes them.
type shape string

// flat stays at a value.
func flat(value float64) shape { return shape(fmt.Sprintf("%gx%d", value, minutes)) }

// turns goes from one value to another for the last minutes.
func turns(from, to float64, last int) shape {
	return shape(fmt.Sprintf("%gx%d %gx%d", from, minutes-last-1, to, last))
}

// climbs is a counter that grows by so much a minute.
func climbs(perMinute float64) shape { return shape(fmt.Sprintf("0+%gx%d", perMinute, minutes)) }

// climbsThen is a counter that grows otherwise for the last minutes.
func climbsThen(before, after float64, last int) shape {
	steady := minutes - last - 1
	return shape(fmt.Sprintf("0+%gx%d %g+%gx%d", before, steady, before*float64(steady)+after, after, last))
}

// once has another value for one sample, so many minutes before the end, and
// ends there.
func once(value, other float64, before int) shape {
	return shape(fmt.Sprintf("%gx%d %g stale", value, minutes-before-1, other))
}

// gone ends so many minutes before the end.
func (s shape) gone(before int) shape {
	first, _, _ := strings.Cut(string(s), "x")
	return shape(fmt.Sprintf("%sx%d stale", first, minutes-before))
}

// series of a scenario by name and labels.
type series map[string]shape

// fires runs the rules over the series and returns the alerts that fire at the
// end, and what they say.
func fires(t *testing.T, ruleFile string, all series) (alerts []string, said string) {
	t.Helper()
	var load strings.Builder
	load.WriteString("load 1m\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&load, "  %s %s\n", name, all[name])
	}
	suite, err := promqltest.NewLazyLoader(load.String(), promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true, Parser: promQL})
	require.NoError(t, err)
	defer func() { require.NoError(t, suite.Close()) }()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		AppendableV2: suite.Storage(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       slog.New(slog.DiscardHandler),
		Parser:       promQL,
	})
	groups, problems := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, ruleFile)
	require.Empty(t, problems)
	end := time.Unix(0, 0).UTC().Add(minutes * time.Minute)
	for left := replayed; left >= 0; left-- {
		if left > finely && left%5 != 0 {
			continue
		}
		at := end.Add(-time.Duration(left) * time.Minute)
		suite.WithSamplesTill(at, func(err error) {
			require.NoError(t, err)
			for _, name := range slices.Sorted(maps.Keys(groups)) {
				groups[name].Eval(suite.Context(), at)
				for _, rule := range groups[name].Rules() {
					require.NoError(t, rule.LastError(), rule.Name())
				}
			}
		})
	}
	for _, group := range groups {
		for _, rule := range group.Rules() {
			alerting, ok := rule.(*rules.AlertingRule)
			if !ok {
				continue
			}
			for _, active := range alerting.ActiveAlerts() {
				if active.State == rules.StateFiring {
					alerts = append(alerts, rule.Name())
					said += active.Annotations.Get("summary") + "\n"
				}
			}
		}
	}
	slices.Sort(alerts)
	return slices.Compact(alerts), said
}
