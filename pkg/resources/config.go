package resources

import "fmt"

// Config is what the process is told of its resources. The Go runtime reads its
// own two variables itself; they are here to be listed, and to be obeyed.
type Config struct {
	CPURequest int `env:"HOLDFAST_CPU_REQUEST" envDefault:"0" doc:"CPU request in thousandths of a CPU (resourceFieldRef requests.cpu, divisor 1m); GOMAXPROCS becomes its whole CPUs rounded up, 2 at least and never more than there are; 0: Go decides"`

	MaxProcs    string `env:"GOMAXPROCS" doc:"threads that run Go code at once; without it HOLDFAST_CPU_REQUEST decides"`
	MemoryLimit string `env:"GOMEMLIMIT" doc:"memory at which Go collects garbage whatever it costs, such as 200MiB, or off; without it 90 % of the container's limit, followed when that changes"`
}

// Validate reports what could not be a request. The Go runtime has judged its
// own variables when the process began.
func (c Config) Validate() error {
	if c.CPURequest < 0 {
		return fmt.Errorf("HOLDFAST_CPU_REQUEST is %d, must not be negative", c.CPURequest)
	}
	return nil
}
