package drill

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Options of a drill. Zero values are not defaults: see [DefaultOptions]
// and [Drill.Defaults].
type Options struct {
	// Duration is how long the drill does what it is about.
	Duration time.Duration
	// Rate is how many requests are due each second; what else follows from it,
	// each drill says.
	Rate float64
	// Watches is how many clients begin to follow an order each second, in drills
	// that say so; each does for three seconds.
	Watches float64
	// Replicas is how many of each service run.
	Replicas int
	// Quiet is how long the load runs before and after the drill's deed.
	Quiet time.Duration
	// Seed makes the drawn requests, connections and faults repeatable.
	Seed uint64
	// Previous is the command of the release before this one; where it is given,
	// every second replica runs it.
	Previous string
	// Sabotage breaks something on purpose.
	Sabotage Sabotage
	// Progress is told what happens; it formats like fmt.Sprintf.
	Progress Progress
}

// Progress takes what a drill is doing, for someone who waits for it.
type Progress = func(format string, args ...any)

// DefaultOptions are what most drills begin with.
func DefaultOptions() Options {
	return Options{Duration: 15 * time.Second, Rate: 60, Watches: 3, Replicas: 3, Quiet: 2 * time.Second, Seed: 1}
}

// Validate reports options that could not work.
func (o Options) Validate() error {
	var errs []error
	if o.Duration <= 0 || o.Duration > time.Hour {
		errs = append(errs, fmt.Errorf("the duration is %s, it must be above 0 and at most 1h", o.Duration))
	}
	if o.Rate <= 0 || o.Rate > 10_000 {
		errs = append(errs, fmt.Errorf("the rate is %g a second, it must be above 0 and at most 10,000", o.Rate))
	}
	if o.Watches < 0 || o.Watches > 1000 {
		errs = append(errs, fmt.Errorf("the rate of watches is %g a second, it must be 0 to 1,000", o.Watches))
	}
	return errors.Join(errs...)
}

// Drill is something that can be done to the platform.
type Drill struct {
	// Name is what people call it.
	Name string
	// Short and Long say what it does, for who asks for help.
	Short, Long string
	// Sabotages are what can be broken for it, each with what that means.
	Sabotages []SabotageOf
	// TakesPrevious says that the drill knows what to do with [Options.Previous].
	TakesPrevious bool
	// Rate says what [Options.Rate] counts.
	Rate string
	// Defaults run in well under a minute on two cores.
	Defaults Options
	// Hold holds the drill and judges. Its error says that the drill could not be
	// held; what it found is the verdict.
	Hold func(context.Context, Options) (*Verdict, error)
}

// All are the drills, by what they teach first.
func All() []Drill {
	return []Drill{
		rollingDrill(), crashDrill(), freezeDrill(), postgresDrill(), processorDrill(), partitionDrill(), slowDrill(), overloadDrill(),
		llmDrill(), chaosDrill(),
	}
}
