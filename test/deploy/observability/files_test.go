package observability

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/discovery/dns" // prometheus.yml finds replicas by it
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the list of metrics that alerts and dashboards use")

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	rules, err := readRules(read(t, folder+"/alerts.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, rules)
	return rules
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	all, err := readDashboards()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 4, "a dashboard is missing")
	return all
}

func TestPrometheusReadsItsConfiguration(t *testing.T) {
	cfg, err := config.LoadFile(folder+"/prometheus.yml", false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Len(t, cfg.ScrapeConfigs, 1)
	require.Len(t, cfg.RuleFiles, 1)
	_, err = os.Stat(cfg.RuleFiles[0])
	require.NoError(t, err, "the rules that it names are there")

	_, err = config.Load(strings.Replace(string(read(t, folder+"/prometheus.yml")), "scrape_timeout: 4s", "scrape_timeout: 6s", 1), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "scrape timeout greater than scrape interval", "control: what cannot work is refused")
}

func TestTheCollectorsPipelinesAreWhole(t *testing.T) {
	content := string(read(t, folder+"/collector.yml"))
	require.Empty(t, collectorProblems([]byte(content)))

	for name, broken := range map[string][2]string{
		"names the exporter elsewhere":      {"exporters: [otlp_grpc/jaeger]", "exporters: [elsewhere]"},
		"no pipeline uses the processor ba": {"processors: [memory_limiter, batch]", "processors: [memory_limiter]"},
		"begins or ends nowhere":            {"receivers: [otlp]", "receivers: []"},
		"is of no kind":                     {"    traces:", "    footprints:"},
		"there is no pipeline":              {"    traces:\n      receivers: [otlp]\n      processors: [memory_limiter, batch]\n      exporters: [otlp_grpc/jaeger]", "    {}"},
	} {
		spoilt := strings.Replace(content, broken[0], broken[1], 1)
		require.Contains(t, strings.Join(collectorProblems([]byte(spoilt)), "\n"), name, "control")
	}
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	rules, files, index := alerts(t), runbookFiles(t), string(read(t, root+"/"+runbooks+"README.md"))
	require.Empty(t, alertProblems(rules, files, index))

	for found, control := range map[string]func() []string{
		"there is no " + runbooks:                        func() []string { return alertProblems(rules, files[1:], index) },
		"no alert has the runbook docs/runbooks/idle.md": func() []string { return alertProblems(rules, append(files, "idle.md"), index) },
		"is not in docs/runbooks/README.md":              func() []string { return alertProblems(rules, files, "") },
		"does not link to":                               func() []string { return alertProblems(rules, files, "") },
		"must be page or ticket":                         func() []string { return alertProblems([]rulefmt.Rule{{Alert: "Bare"}}, nil, "") },
		"Bare has no summary":                            func() []string { return alertProblems([]rulefmt.Rule{{Alert: "Bare"}}, nil, "") },
		"must be a path below":                           func() []string { return alertProblems([]rulefmt.Rule{{Alert: "Bare"}}, nil, "") },
	} {
		require.Contains(t, strings.Join(control(), "\n"), found, "control")
	}
}

func runbookFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(root + "/" + runbooks + "*.md")
	require.NoError(t, err)
	var files []string
	for _, path := range paths {
		if base := filepath.Base(path); base != "README.md" {
			files = append(files, base)
		}
	}
	require.NotEmpty(t, files)
	return files
}

func TestEveryRunbookAnswersTheSameQuestions(t *testing.T) {
	leading := map[string][]string{}
	for _, rule := range alerts(t) {
		if rule.Alert != "" {
			leading[rule.Annotations["runbook"]] = append(leading[rule.Annotations["runbook"]], rule.Alert)
		}
	}
	for _, file := range runbookFiles(t) {
		require.Empty(t, runbookProblems(string(read(t, root+"/"+runbooks+file)), leading[runbooks+file]), file)
	}
	text := string(read(t, root+"/"+runbooks+"target-down.md"))
	require.Len(t, runbookProblems(text, []string{"Invented"}), 1, "control: an alert that it does not name")
	require.Len(t, runbookProblems(strings.Replace(text, "## Mend", "## Ponder", 1), nil), 1, "control: a section is missing")
}

func TestDashboardsAskWhatIsProvisioned(t *testing.T) {
	all := dashboards(t)
	provisioned, err := readDatasources(read(t, folder+"/grafana/datasources.yml"))
	require.NoError(t, err)
	require.Empty(t, dashboardProblems(all, provisioned))

	delete(provisioned, "prometheus")
	require.Contains(t, strings.Join(dashboardProblems(all, provisioned), "\n"), "is not provisioned", "control")
	require.Contains(t, strings.Join(dashboardProblems([]dashboard{all[0], all[0]}, provisioned), "\n"), "that of another dashboard", "control")
	twice := all[0]
	twice.Panels = append(twice.Panels[:1:1], twice.Panels[0], panel{ID: 99})
	problems := strings.Join(dashboardProblems([]dashboard{twice}, provisioned), "\n")
	require.Contains(t, problems, "two panels have the id", "control")
	require.Contains(t, problems, "has no title or no query", "control")
}

// TestRunbooksNameScenariosThatExist: `go test -run` is content with nothing.
func TestRunbooksNameScenariosThatExist(t *testing.T) {
	for _, file := range runbookFiles(t) {
		named := scenariosIn(string(read(t, root+"/"+runbooks+file)))
		require.NotEmpty(t, named, "%s shows no alert", file)
		for _, name := range named {
			require.True(t, scenarioExists(name), "%s: there is no scenario %s", file, name)
		}
	}
	require.Equal(t, []string{"a_wish"}, scenariosIn("go test ./observability -run 'TestEachAlert/a_wish'"))
	require.False(t, scenarioExists("a_wish"), "control")
}

var scenarioPattern = regexp.MustCompile(`TestEachAlert/(\w+)`)

func scenariosIn(text string) []string {
	var names []string
	for _, match := range scenarioPattern.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

func scenarioExists(name string) bool {
	for _, scenario := range scenarios {
		if len(scenario.fires) > 0 && strings.HasPrefix(strings.ReplaceAll(scenario.name, " ", "_"), name) {
			return true
		}
	}
	return false
}

// TestComposeMountsWhatIsThere: a bind mount of a file that is not there makes
// an empty directory, and the container starts with it.
func TestComposeMountsWhatIsThere(t *testing.T) {
	content := string(read(t, root+"/deploy/compose/observability.yml"))
	mounts := mountsOf(content)
	require.NotEmpty(t, mounts)
	for _, mount := range mounts {
		_, err := os.Stat(filepath.Join(root, "deploy/compose", mount))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"../x/y.yml"}, mountsOf("    volumes:\n      - ../x/y.yml:/y.yml:ro\n"))
}

func mountsOf(compose string) []string {
	var mounts []string
	for line := range strings.Lines(compose) {
		if mount, ok := strings.CutPrefix(strings.TrimSpace(line), "- ../"); ok {
			source, _, _ := strings.Cut(mount, ":")
			mounts = append(mounts, "../"+source)
		}
	}
	return mounts
}
