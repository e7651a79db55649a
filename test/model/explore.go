package model

import (
	"fmt"
	"slices"
	"strings"
)

// Report is what an exploration found.
type Report struct {
	// States counts the different states that can be reached, Steps the ways
	// from one to the next, and Depth the steps to the farthest.
	States, Steps, Depth int
	// Taken counts the steps of each kind.
	Taken map[Kind]int
	// Violation is nil if every rule holds in every state.
	Violation *Violation
}

// Violation is a rule that broke and a shortest way to where it did.
type Violation struct {
	Rule  string
	Story []Step
}

// String tells the story.
func (v *Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "broken: %s\n", v.Rule)
	for i, step := range v.Story {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, step)
	}
	if v.Rule == NothingStaysUndecided {
		b.WriteString("     and from here no way leads to a decided key\n")
	}
	return b.String()
}

// Explore walks through every state that m can reach, breadth first, and checks
// the rules in each, then [NothingStaysUndecided]. It stops at the first
// violation.
func (m Model) Explore(rules ...Rule) Report {
	w := walk{model: m, known: map[State]int32{}}
	w.reach(State{}.canonical(), -1)
	report := Report{Taken: map[Kind]int{}}
	for at := 0; at < len(w.states); at++ {
		if broken, ok := violated(rules, w.states[at]); ok {
			report.Violation = &Violation{broken, w.story(int32(at))}
			break
		}
		m.steps(w.states[at], func(step Step, s State) {
			report.Steps++
			report.Taken[step.Kind]++
			to := w.reach(s.canonical(), int32(at))
			if !faults[step.Kind] {
				w.ways = append(w.ways, way{int32(at), to})
			}
		})
	}
	report.States, report.Depth = len(w.states), int(w.depths[len(w.depths)-1])
	if report.Violation == nil {
		if at := w.stuck(); at >= 0 {
			report.Violation = &Violation{NothingStaysUndecided, w.story(at)}
		}
	}
	return report
}

func violated(rules []Rule, s State) (string, bool) {
	for _, r := range rules {
		if !r.holds(s) {
			return r.Name, true
		}
	}
	return "", false
}

// walk is what is known of the states so far. A state is its index.
type walk struct {
	model  Model
	known  map[State]int32
	states []State
	from   []int32 // on a shortest way
	depths []int32
	ways   []way // without faults
}

type way struct{ from, to int32 }

// reach returns the index of a state, which may be new.
func (w *walk) reach(s State, from int32) int32 {
	if at, ok := w.known[s]; ok {
		return at
	}
	at := int32(len(w.states))
	w.known[s] = at
	w.states, w.from = append(w.states, s), append(w.from, from)
	depth := int32(0)
	if from >= 0 {
		depth = w.depths[from] + 1
	}
	w.depths = append(w.depths, depth)
	return at
}

// stuck returns the nearest state from which no way leads to a decided one, or
// -1. It goes the ways back from all that are decided.
func (w *walk) stuck() int32 {
	slices.SortFunc(w.ways, func(a, b way) int { return int(a.to - b.to) })
	into := make([]int32, len(w.states)+1) // where the ways into a state begin
	for _, x := range w.ways {
		into[x.to+1]++
	}
	for i := range w.states {
		into[i+1] += into[i]
	}
	good := make([]bool, len(w.states))
	var queue []int32
	for at, s := range w.states {
		if !s.undecided() {
			good[at], queue = true, append(queue, int32(at))
		}
	}
	for len(queue) > 0 {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, x := range w.ways[into[at]:into[at+1]] {
			if !good[x.from] {
				good[x.from], queue = true, append(queue, x.from)
			}
		}
	}
	return int32(slices.Index(good, false))
}

// story goes the way to a state once more, with epochs as they are counted and
// owners where they were, and notes the steps.
func (w *walk) story(at int32) []Step {
	var path []int32
	for ; at > 0; at = w.from[at] {
		path = append(path, at)
	}
	slices.Reverse(path)
	var (
		steps []Step
		now   State
	)
	for _, at := range path {
		found := false
		var taken State
		w.model.steps(now, func(step Step, s State) {
			if !found && s.canonical() == w.states[at] {
				found, taken = true, s
				steps = append(steps, step)
			}
		})
		now = taken
	}
	return steps
}
