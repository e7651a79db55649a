package observability

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
)

const metricsFile = folder + "/metrics.txt"

const metricsHeader = `# What alerts and dashboards use, generated from them: metric, labels, and the
# values of labels that are named. test/observability holds the services to it.
# To write it anew: cd test/deploy && go test ./observability -update
`

// TestTheListOfMetricsIsUpToDate also parses every expression, and follows the
// labels that legends and texts show down to the series.
func TestTheListOfMetricsIsUpToDate(t *testing.T) {
	found, problems := readAll(alerts(t), dashboards(t))
	require.Empty(t, problems)
	want := metricsHeader + strings.Join(found.lines(), "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(metricsFile, []byte(want), 0o644))
	}
	require.Equal(t, want, string(read(t, metricsFile)), "run the test with -update")
}

func TestUsesAreReadOffAnExpression(t *testing.T) {
	recorded, err := recordings([]rulefmt.Rule{{Record: "job:orders:rate", Expr: "sum by (job, tenant) (rate(orders_total[5m]))"}})
	require.NoError(t, err)
	for expression, want := range map[string]string{
		`sum by (method) (rate(requests_total{status="bad"}[5m]))`:  `requests_total{method,status="bad"}`,
		`requests_total{status=~"a|b", path=~"/v1/.*"}`:             `requests_total{path,status="a",status="b"}`,
		`histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))`: `x_bucket{le}`,
		`a * on (job) group_left (version) info`:                    "a{}\ninfo{version}",
		`up{job="orders"} or absent(up)`:                            ``,
		`job:orders:rate{tenant="acme"} > 1`:                        `orders_total{tenant}`,
		`max_over_time(gauge[3h]) - time() < 1 unless on (x) other`: "gauge{x}\nother{x}",
		`sum(changes(start{zone!="a"}[15m])) + 1`:                   `start{zone}`,
	} {
		r := &reader{recorded: recorded, found: uses{}}
		require.NoError(t, r.read(expression), expression)
		require.Equal(t, want, strings.Join(r.found.lines(), "\n"), expression)
	}
}

// TestAnExpressionThatCannotWorkIsFound is the control of the above.
func TestAnExpressionThatCannotWorkIsFound(t *testing.T) {
	one := func(expression, legend string) []error {
		d := dashboard{File: "control.json", Panels: []panel{{Title: "control"}}}
		d.Panels[0].Targets = append(d.Panels[0].Targets, struct {
			Expr         string `json:"expr"`
			LegendFormat string `json:"legendFormat"`
		}{expression, legend})
		_, problems := readAll(nil, []dashboard{d})
		return problems
	}
	require.Empty(t, one(`sum by (job) (rate(x[$__rate_interval]))`, "{{job}}"))
	require.ErrorContains(t, one(`sum by (job (rate(x[5m]))`, "")[0], "parse error")
	require.ErrorContains(t, one(`rate(x[$__unknown])`, "")[0], "parse error", "a variable that Grafana does not have either")
	require.ErrorContains(t, one(`sum by (job) (x)`, "{{version}}")[0], "has no label version")

	_, err := readRules([]byte("groups: [{name: a, rules: [{alert: A, expr: 'sum(', labels: {severity: page}}]}]"))
	require.Error(t, err)
	_, problems := readAll([]rulefmt.Rule{{Alert: "A", Expr: "sum(x)", Annotations: map[string]string{"summary": "{{ $labels.job }}"}}}, nil)
	require.ErrorContains(t, problems[0], "has no label job")

	stale := uses{"x": {"label": {}}}
	require.NotEqual(t, stale.lines(), uses{"x": {"label": setOf("value")}}.lines(), "a value is part of the list")
}
