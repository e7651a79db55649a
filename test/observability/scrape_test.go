package observability

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// metricsFile lists what alerts and dashboards use. test/deploy/observability
// generates it from their expressions and fails when it is out of date.
const metricsFile = "../../deploy/observability/metrics.txt"

// use is a metric that somebody looks at, with labels and their values, as in
// the file: name{label,label="value"}.
type use struct {
	metric string
	labels []string
	values map[string][]string // by label
}

var (
	usePattern   = regexp.MustCompile(`^([a-zA-Z_]+)\{(.*)\}$`)
	labelPattern = regexp.MustCompile(`([a-z_]+)(?:="([^"]*)")?`)
)

func parseUses(t *testing.T, text string) []use {
	t.Helper()
	var all []use
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		match := usePattern.FindStringSubmatch(line)
		require.NotNil(t, match, "%q is no line of the list", line)
		u := use{metric: match[1], values: map[string][]string{}}
		for _, label := range labelPattern.FindAllStringSubmatch(match[2], -1) {
			u.labels = append(u.labels, label[1])
			if label[2] != "" {
				u.values[label[1]] = append(u.values[label[1]], label[2])
			}
		}
		all = append(all, u)
	}
	return all
}

// scrape is what services publish: by metric, the labels of its series.
type scrape map[string][]map[string]string

var (
	seriesPattern = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	pairPattern   = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

func (s scrape) add(text string) {
	for line := range strings.Lines(text) {
		match := seriesPattern.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil { // a comment
			continue
		}
		labels := map[string]string{}
		for _, pair := range pairPattern.FindAllStringSubmatch(match[2], -1) {
			labels[pair[1]] = pair[2]
		}
		s[match[1]] = append(s[match[1]], labels)
	}
}

// missing says what the uses need and the scrape does not have.
func (s scrape) missing(uses []use) []string {
	var found []string
	for _, u := range uses {
		series := s[u.metric]
		if len(series) == 0 {
			found = append(found, u.metric)
			continue
		}
		for _, label := range u.labels {
			has := func(accept func(value string) bool) bool {
				return slices.ContainsFunc(series, func(labels map[string]string) bool {
					value, ok := labels[label]
					return ok && accept(value)
				})
			}
			if !has(func(string) bool { return true }) {
				found = append(found, fmt.Sprintf("%s{%s}", u.metric, label))
				continue
			}
			for _, want := range u.values[label] {
				if !has(func(value string) bool { return value == want }) && !rare(label, want) {
					found = append(found, fmt.Sprintf("%s{%s=%q}", u.metric, label, want))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// rare reports whether a value is right although an ordinary day does not show
// it: a status that gRPC has, a reason of the API's errors, or an outcome that takes
// a frozen process or a downgrade, which the tests of package idempotency bring about.
func rare(label, value string) bool {
	switch label {
	case "rpc_response_status_code":
		var code codes.Code
		return code.UnmarshalJSON([]byte(`"`+value+`"`)) == nil
	case "outcome":
		return said("../../pkg/apierror/reasons.go", `Reason = "`+value+`"`) ||
			((value == "fenced" || value == "unverifiable") && said("../../pkg/idempotency/metrics.go", `= "`+value+`"`))
	default:
		return false
	}
}

// said reports whether a file of the source says something.
func said(file, text string) bool {
	source, err := os.ReadFile(file)
	return err == nil && strings.Contains(string(source), text)
}

// TestEveryMetricThatIsLookedAtIsPublished runs the platform, shops, and looks
// for every metric, label and value that an alert or a dashboard uses.
func TestEveryMetricThatIsLookedAtIsPublished(t *testing.T) {
	content, err := os.ReadFile(metricsFile)
	require.NoError(t, err)
	uses := parseUses(t, string(content))
	require.Greater(t, len(uses), 20, "the list is too short to be whole")

	p := start(t)
	p.shop(t)
	p.askModels(t)
	published := func() scrape {
		s := scrape{}
		for _, service := range local.Databases {
			s.add(string(p.metrics(t, service)))
		}
		return s
	}
	// Maintenance and the completer work in the background.
	deadline := time.Now().Add(bound)
	for len(published().missing(uses)) > 0 && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
	}
	require.Empty(t, published().missing(uses), "nobody publishes these")

	// The control: what nobody publishes is found missing.
	invented := parseUses(t, `holdfast_wishes_total{granted}
holdfast_build_info{colour}
rpc_server_call_duration_seconds_bucket{le="0.51"}
rpc_server_call_duration_seconds_count{rpc_response_status_code="CROSS"}`)
	require.Equal(t, []string{
		`holdfast_build_info{colour}`,
		`holdfast_wishes_total`,
		`rpc_server_call_duration_seconds_bucket{le="0.51"}`,
		`rpc_server_call_duration_seconds_count{rpc_response_status_code="CROSS"}`,
	}, published().missing(invented))
}
