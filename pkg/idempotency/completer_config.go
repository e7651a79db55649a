package idempotency

import (
	"errors"
	"fmt"
	"time"
)

// CompleterConfig is how a service's [Completer] works.
type CompleterConfig struct {
	Interval time.Duration `env:"HOLDFAST_COMPLETER_INTERVAL" envDefault:"1s" doc:"how often to look for what a crash or a timeout left open"`
	MaxPause time.Duration `env:"HOLDFAST_COMPLETER_MAX_PAUSE" envDefault:"4s" doc:"the longest pause between two tries of finishing one request"`
	// Workers wait for others most of their time, so there may be more of them
	// than connections to the database.
	Workers int `env:"HOLDFAST_COMPLETER_WORKERS" envDefault:"16" doc:"how many requests are being finished at once"`
}

// Validate reports every setting that could not work.
func (c CompleterConfig) Validate() error {
	var problems []error
	if c.Interval <= 0 {
		problems = append(problems, fmt.Errorf("HOLDFAST_COMPLETER_INTERVAL is %v, must be positive", c.Interval))
	}
	if c.MaxPause <= 0 {
		problems = append(problems, fmt.Errorf("HOLDFAST_COMPLETER_MAX_PAUSE is %v, must be positive", c.MaxPause))
	}
	if c.Workers <= 0 || c.Workers > 1000 {
		problems = append(problems, fmt.Errorf("HOLDFAST_COMPLETER_WORKERS is %d, must be from 1 to 1000", c.Workers))
	}
	return errors.Join(problems...)
}
