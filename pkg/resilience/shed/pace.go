package shed

import (
	"math"
	"time"
)

// pace is what is known of how long the calls of one method take.
type pace struct {
	// calm is the server's own time when no more than the floor is in flight:
	// the best it can do, since the limit never goes below that. Zero until
	// something is known.
	calm float64 // nanoseconds
	// typical is how long a call takes now, from where it is let in to its
	// answer, dependencies included.
	typical float64 // nanoseconds
}

const (
	// tolerance is how much longer than at a calm time calls may take. At twice
	// the time there is as much waiting as there is being worked on: enough to
	// keep every worker busy, whatever their number, and no more than clients
	// bear.
	tolerance = 2
	// slack is waiting that nobody minds, and that a scheduler or a garbage
	// collector causes by itself; CoDel's target has the same size.
	slack = float64(5 * time.Millisecond)
	// weight is that of one call in what is learned: after 20 calls nine tenths
	// of what is known is from them.
	weight = 0.1
)

// tolerated is the longest own time that is no sign of overload.
func (p *pace) tolerated() float64 { return tolerance*p.calm + slack }

func (p *pace) learnCalm(own time.Duration)        { p.calm = towards(p.calm, own) }
func (p *pace) learnTypical(elapsed time.Duration) { p.typical = towards(p.typical, elapsed) }

// towards moves an average towards a sample. The average is geometric: one call
// of a hundred times the usual length moves it by half, not tenfold.
func towards(average float64, sample time.Duration) float64 {
	x := math.Max(float64(sample), float64(time.Microsecond))
	if average == 0 {
		return x
	}
	return average * math.Pow(x/average, weight)
}
