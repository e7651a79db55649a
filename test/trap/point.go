package trap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Step is what a replica does on the way of an order.
type Step string

// The steps. Those of the database are each one commit.
const (
	// FirstCommit stores the key and what is begun.
	FirstCommit Step = "first-commit"
	// Call asks payments, or the card processor.
	Call Step = "call"
	// SecondCommit stores the outcome and the answer.
	SecondCommit Step = "second-commit"
	// Seal stores the answer while the outcome is unknown.
	Seal Step = "seal"
	// TakeOver makes the completer the owner of what somebody left.
	TakeOver Step = "take-over"
)

// Steps are all steps, in the order of an order's way.
var Steps = []Step{FirstCommit, Call, SecondCommit, Seal, TakeOver}

// Point is the Nth time that a process comes to one side of a step. "Before" a
// commit means that the database has not got it; "after", that it has
// acknowledged it, and nobody was told.
type Point struct {
	Step  Step
	After bool
	Nth   int64 // from 1
}

// All are the first passages of every point.
func All() []Point {
	var points []Point
	for _, step := range Steps {
		points = append(points, Point{step, false, 1}, Point{step, true, 1})
	}
	return points
}

// String is the point as [Parse] reads it, such as "second-commit:before:3".
func (p Point) String() string {
	side := "before"
	if p.After {
		side = "after"
	}
	return fmt.Sprintf("%s:%s:%d", p.Step, side, p.Nth)
}

// Parse reads a point.
func Parse(text string) (Point, error) {
	step, rest, _ := strings.Cut(text, ":")
	side, count, _ := strings.Cut(rest, ":")
	nth, err := strconv.ParseInt(count, 10, 64)
	p := Point{Step(step), side == "after", nth}
	if err != nil || nth < 1 || !slices.Contains(Steps, p.Step) || (side != "before" && side != "after") {
		return Point{}, fmt.Errorf("%q is no point: it is STEP:before:N or STEP:after:N, and the steps are %v", text, Steps)
	}
	return p, nil
}
