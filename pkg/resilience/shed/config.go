package shed

import (
	"errors"
	"fmt"
	"time"
)

// Config is what an operator may set.
type Config struct {
	// Enabled turns shedding on. It is on: a server without it answers nobody
	// once it gets more than it can do.
	Enabled bool `env:"HOLDFAST_SHED_ENABLED" envDefault:"true" doc:"refuse what is more than the replica can do, the least critical first"`
	// Min is the floor of the limit, in calls in flight. It is above the 10
	// connections of the database pool, so that shedding never leaves the
	// database idle; and it is the concurrency at which the server learns how
	// long calls take when nothing is wrong.
	Min int `env:"HOLDFAST_SHED_MIN" envDefault:"16" doc:"calls in flight that are always allowed; set it above the database's connections, and to what a replica has when it is not busy"`
	// Initial is the limit of a server that has just started. Twice the floor:
	// what is learned from the first calls is then wrong by two at most, and a
	// new replica grows to what it needs in a few tenths of a second.
	Initial int `env:"HOLDFAST_SHED_INITIAL" envDefault:"32" doc:"limit of calls in flight at the start"`
	// Max is the ceiling of the limit. As many calls may wait as may be in
	// flight, and both together fit the 256 streams of one connection
	// (HOLDFAST_MAX_STREAMS): the HTTP gateway has one connection, and what it
	// cannot send there waits without anybody knowing how critical it is.
	Max int `env:"HOLDFAST_SHED_MAX" envDefault:"128" doc:"limit of calls in flight at most; as many more may wait, and both must fit HOLDFAST_MAX_STREAMS"`
	// MaxWait is how long a call may wait for its turn. Long enough for a moment
	// in which a replica gets no CPU, because another one starts beside it;
	// shorter than what a user takes for an error. In an overload it costs
	// little: the newest call is served first.
	MaxWait time.Duration `env:"HOLDFAST_SHED_MAX_WAIT" envDefault:"500ms" doc:"how long a call may wait for its turn before it is refused; 0: it is refused at once"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Enabled: true, Min: 16, Initial: 32, Max: 128, MaxWait: 500 * time.Millisecond}
}

// most is more calls in flight than one process of Go serves well.
const most = 100_000

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(c.Min >= 1, "HOLDFAST_SHED_MIN is %d, must be at least 1", c.Min)
	check(c.Max >= c.Min && c.Max <= most,
		"HOLDFAST_SHED_MAX is %d, must be from HOLDFAST_SHED_MIN, which is %d, to %d", c.Max, c.Min, most)
	check(c.Initial >= c.Min && c.Initial <= c.Max,
		"HOLDFAST_SHED_INITIAL is %d, must be from HOLDFAST_SHED_MIN, which is %d, to HOLDFAST_SHED_MAX, which is %d", c.Initial, c.Min, c.Max)
	check(c.MaxWait >= 0 && c.MaxWait <= 10*time.Second,
		"HOLDFAST_SHED_MAX_WAIT is %v, must be from 0 to 10s", c.MaxWait)
	return errors.Join(problems...)
}
