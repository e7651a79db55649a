package payments

import (
	"errors"
	"fmt"
	"time"
)

// ReconcileConfig is when our books are compared with the processor's, and how
// much of them at a time.
type ReconcileConfig struct {
	Interval time.Duration `env:"HOLDFAST_RECONCILE_INTERVAL" envDefault:"1h" doc:"how often our books are compared with the processor's"`
	// Settling is longer than anything may be undecided, so that what is compared
	// is final on both sides.
	Settling time.Duration `env:"HOLDFAST_RECONCILE_SETTLING" envDefault:"2m" doc:"how old an operation is when it is compared; longer than one takes to be finished after a crash"`
	Overlap  time.Duration `env:"HOLDFAST_RECONCILE_OVERLAP" envDefault:"1h" doc:"how much of what the last comparison has covered is compared again; longer than clocks differ"`
	Lookback time.Duration `env:"HOLDFAST_RECONCILE_LOOKBACK" envDefault:"168h" doc:"how far the first comparison goes back"`
}

// Validate reports every setting that could not work.
func (c ReconcileConfig) Validate() error {
	var problems []error
	for _, setting := range []struct {
		name  string
		value time.Duration
	}{
		{"HOLDFAST_RECONCILE_INTERVAL", c.Interval},
		{"HOLDFAST_RECONCILE_SETTLING", c.Settling},
		{"HOLDFAST_RECONCILE_OVERLAP", c.Overlap},
		{"HOLDFAST_RECONCILE_LOOKBACK", c.Lookback},
	} {
		if setting.value <= 0 {
			problems = append(problems, fmt.Errorf("%s is %v, must be positive", setting.name, setting.value))
		}
	}
	return errors.Join(problems...)
}
