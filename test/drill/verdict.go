package drill

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"

	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// Verdict is what a drill has found. Its JSON form is for machines.
type Verdict struct {
	Drill    string   `json:"drill"`
	Sabotage Sabotage `json:"sabotage,omitempty"`
	Seed     uint64   `json:"seed"`
	// Passed says that something was sent and everything held that must.
	Passed bool `json:"passed"`
	// Checks are what must hold.
	Checks []Check `json:"must_hold"`
	// Took is the whole drill, in seconds.
	Took float64 `json:"took_seconds"`
	// Sent counts requests, Failed those that failed, by kind.
	Sent   int64            `json:"sent"`
	Failed map[string]int64 `json:"failed"`
	// Examples holds one failure of each kind.
	Examples map[string]string `json:"examples,omitempty"`
	// Replayed counts stored answers, Retried clients' own retries, and
	// Transparent the streams that gRPC sent again because the server had
	// certainly not looked at them.
	Replayed    int64 `json:"replayed"`
	Retried     int64 `json:"retried"`
	Transparent int64 `json:"transparent_retries"`
	// HandedOver counts watches that a drain ended and that went on elsewhere.
	HandedOver int64 `json:"watches_handed_over,omitempty"`
	// Phases are before, during and after the drill's deed; of each kind of
	// traffic, if there are several.
	Phases []Phase `json:"phases"`
	// Late is how late the load generator's worst arrival left, in seconds.
	Late float64 `json:"generator_late_seconds"`
	// Drains are the replicas that were replaced.
	Drains []Drain `json:"drains"`
	// Audit is what the invariants checker has found.
	Audit invariants.Result `json:"audit"`
}

// Check is something that must hold.
type Check struct {
	// Name says what must hold.
	Name string `json:"name"`
	Held bool   `json:"held"`
	// Found is the figure that it was judged by.
	Found string `json:"found,omitempty"`
}

// Phase is a part of a run. Latencies are in seconds, from the time a request
// was due.
type Phase struct {
	// Traffic is the kind of requests; empty if there is one kind only.
	Traffic string `json:"traffic,omitempty"`
	Name    string `json:"name"`
	Sent    int64  `json:"sent"`
	Failed  int64  `json:"failed"`
	Retried int64  `json:"retried,omitempty"`
	// Kinds are the failures by kind, Versions the answers by what gave them.
	Kinds    map[string]int64 `json:"failed_by_kind,omitempty"`
	Versions map[string]int64 `json:"versions,omitempty"`
	P50      float64          `json:"p50_seconds"`
	P90      float64          `json:"p90_seconds"`
	P99      float64          `json:"p99_seconds"`
	Max      float64          `json:"max_seconds"`
}

// answered is the part of the requests that did not fail.
func (p Phase) answered() float64 {
	if p.Sent == 0 {
		return 0
	}
	return float64(p.Sent-p.Failed) / float64(p.Sent)
}

func newVerdict(drill string, o Options) *Verdict {
	return &Verdict{Drill: drill, Sabotage: o.Sabotage, Seed: o.Seed, Failed: map[string]int64{}, Examples: map[string]string{}}
}

// add adds what became of one kind of traffic.
func (v *Verdict) add(traffic string, report load.Report) {
	v.Sent += report.Sent()
	for kind, n := range report.Failed() {
		v.Failed[kind] += n
	}
	for kind, example := range report.Examples {
		if _, known := v.Examples[kind]; !known {
			v.Examples[kind] = example
		}
	}
	v.Replayed += report.Replayed()
	v.Retried += report.Retried()
	v.Transparent += report.Transparent()
	v.Late = max(v.Late, report.Late.Seconds())
	for _, p := range report.Phases {
		v.Phases = append(v.Phases, Phase{
			Traffic: traffic, Name: p.Name, Sent: p.Sent, Failed: p.Failures(), Retried: p.Retried, Kinds: p.Failed, Versions: p.Versions,
			P50: p.P50.Seconds(), P90: p.P90.Seconds(), P99: p.P99.Seconds(), Max: p.Max.Seconds(),
		})
	}
}

// phase is one part of one kind of traffic; empty if there was none.
func (v *Verdict) phase(traffic, name string) Phase {
	for _, p := range v.Phases {
		if p.Traffic == traffic && p.Name == name {
			return p
		}
	}
	return Phase{Traffic: traffic, Name: name}
}

// must notes whether something held that must, and the figure it was judged by.
func (v *Verdict) must(name string, held bool, found string, args ...any) {
	v.Checks = append(v.Checks, Check{Name: name, Held: held, Found: fmt.Sprintf(found, args...)})
}

// audited notes what the invariants checker has found.
func (v *Verdict) audited(audit invariants.Result) {
	v.Audit = audit
	v.must("no order is lost, no card charged twice, and the books balance", len(audit.Violations) == 0, "%d violations", len(audit.Violations))
}

// settle ends the judging.
func (v *Verdict) settle(took time.Duration) *Verdict {
	v.Took = took.Seconds()
	v.Passed = v.Sent > 0
	for _, c := range v.Checks {
		v.Passed = v.Passed && c.Held
	}
	return v
}

// judge judges a drill in which nothing may fail.
func judge(drill string, o Options, all []seen, drains []Drain, audit invariants.Result, took time.Duration) *Verdict {
	v := newVerdict(drill, o)
	v.Drains = drains
	for _, one := range all {
		v.add(one.traffic, one.Report)
		name := "no request fails"
		if one.traffic == watches {
			name = "every watch has each revision once, over a drain too"
		}
		v.must(name, one.Failures() == 0, "%d of %d failed", one.Failures(), one.Sent())
	}
	if len(drains) > 0 {
		v.must("every replica that leaves drains and exits with 0", len(v.problems()) == 0, "%d of %d did not", len(v.problems()), len(drains))
	}
	v.audited(audit)
	return v.settle(took)
}

// problems are the replicas that did not exit with 0.
func (v *Verdict) problems() []string {
	var found []string
	for _, d := range v.Drains {
		if d.Problem != "" {
			found = append(found, d.Problem)
		}
	}
	return found
}

// Render writes the verdict as a table, with colours if w is a terminal that
// wants them.
func (v *Verdict) Render(w io.Writer) error {
	bold, dim := lipgloss.NewStyle().Bold(true), lipgloss.NewStyle().Faint(true)
	colour, word := lipgloss.Green, "PASSED"
	if !v.Passed {
		colour, word = lipgloss.Red, "FAILED"
	}
	title := "drill " + v.Drill
	if v.Sabotage != "" {
		title += " --sabotage " + string(v.Sabotage)
	}
	facts := table.New().Border(lipgloss.RoundedBorder()).BorderStyle(dim).
		StyleFunc(func(_, column int) lipgloss.Style {
			style := lipgloss.NewStyle().Padding(0, 1)
			if column == 0 {
				return style.Faint(true)
			}
			return style
		}).
		Row("requests sent", strconv.FormatInt(v.Sent, 10)).
		Row("failed", v.failures())
	if v.Retried > 0 {
		facts.Row("retried by clients", strconv.FormatInt(v.Retried, 10))
	}
	facts.Row("replayed", strconv.FormatInt(v.Replayed, 10)).
		Row("sent again by gRPC, unseen", strconv.FormatInt(v.Transparent, 10))
	for _, p := range v.Phases {
		facts.Row(p.title(), p.figures())
	}
	if v.HandedOver > 0 {
		facts.Row("watches handed over", strconv.FormatInt(v.HandedOver, 10))
	}
	if len(v.Drains) > 0 {
		facts.Row("drains", v.drains())
	}
	if v.Audit.Audited.Orders > 0 || len(v.Audit.Violations) > 0 {
		facts.Row("invariants", v.invariants())
	}
	facts.Row("must hold", v.checks()).
		Row("seed", strconv.FormatUint(v.Seed, 10)).
		Row("took", seconds(v.Took))
	text := []string{
		bold.Render(title) + "  " + bold.Foreground(colour).Render(word),
		facts.Render(),
	}
	if note := notes[v.Drill]; note != "" {
		text = append(text, dim.Render(note))
	}
	text = append(text, v.problems()...)
	for _, violation := range v.Audit.Violations[:min(len(v.Audit.Violations), shownViolations)] {
		text = append(text, violation.String())
	}
	if more := len(v.Audit.Violations) - shownViolations; more > 0 {
		text = append(text, fmt.Sprintf("and %d more violations (--json has all)", more))
	}
	_, err := lipgloss.Fprintln(w, strings.Join(text, "\n"))
	return err
}

// notes say what a figure would otherwise be misread without.
var notes = map[string]string{
	RollingName: fmt.Sprintf("%d %% of the cards take a second to answer, so that requests are under way whenever a replica goes.", slowPercent),
}

func (p Phase) title() string {
	if p.Traffic == "" {
		return "latency " + p.Name
	}
	return p.Traffic + ", " + p.Name
}

func (p Phase) figures() string {
	text := fmt.Sprintf("p50 %s  p99 %s  max %s", seconds(p.P50), seconds(p.P99), seconds(p.Max))
	if p.Traffic == "" {
		return text
	}
	return fmt.Sprintf("%d sent, %d failed  %s", p.Sent, p.Failed, text)
}

// checks lists what must hold, what did not first.
func (v *Verdict) checks() string {
	var broken, held []string
	for _, c := range v.Checks {
		line := c.Name
		if c.Found != "" {
			line += ": " + c.Found
		}
		if c.Held {
			held = append(held, "yes  "+line)
		} else {
			broken = append(broken, "NO   "+line)
		}
	}
	return strings.Join(append(broken, held...), "\n")
}

// shownViolations is how many a person gets to see at once.
const shownViolations = 10

// failures lists the failed requests by kind, the most frequent first.
func (v *Verdict) failures() string {
	kinds := slices.SortedFunc(maps.Keys(v.Failed), func(a, b string) int {
		if v.Failed[a] != v.Failed[b] {
			return int(v.Failed[b] - v.Failed[a])
		}
		return strings.Compare(a, b)
	})
	var total int64
	lines := []string{""}
	for _, kind := range kinds {
		total += v.Failed[kind]
		lines = append(lines, fmt.Sprintf("%d %s", v.Failed[kind], kind))
	}
	lines[0] = strconv.FormatInt(total, 10)
	return strings.Join(lines, "\n")
}

func (v *Verdict) drains() string {
	var slowest float64
	for _, d := range v.Drains {
		slowest = max(slowest, d.Took)
	}
	text := fmt.Sprintf("%d replicas replaced, the slowest drained in %s", len(v.Drains), seconds(slowest))
	if n := len(v.problems()); n > 0 {
		text += fmt.Sprintf(", %d did not exit with 0", n)
	}
	return text
}

func (v *Verdict) invariants() string {
	a := v.Audit.Audited
	audited := fmt.Sprintf("%d orders, %d payments, %d processor operations audited", a.Orders, a.Payments, a.Operations)
	if n := len(v.Audit.Violations); n > 0 {
		return fmt.Sprintf("%d violated; %s", n, audited)
	}
	return "all hold; " + audited
}

// seconds prints a time with three significant digits or so.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
