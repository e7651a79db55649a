package drill

import (
	"fmt"
	"strings"
)

// Sabotage names what is broken on purpose; empty for nothing.
type Sabotage string

// SabotageOf is a sabotage that a drill knows.
type SabotageOf struct {
	Sabotage
	// Means says what is broken.
	Means string
}

// The sabotages that services themselves are told of, by the hidden flag of
// `holdfast serve`; their own binaries do not have it.
const (
	// NoDrain stops a replica at once on SIGTERM, as a process does that does
	// not handle the signal.
	NoDrain Sabotage = "no-drain"
	// NoReadinessFlip drains, but goes on saying that it is ready.
	NoReadinessFlip Sabotage = "no-readiness-flip"
	// NoEpoch stores an outcome without asking who owns the key by now.
	NoEpoch Sabotage = "no-epoch"
	// NoSeal answers that an outcome is unknown without storing that answer first.
	NoSeal Sabotage = "no-seal"
)

// The sabotages that are done to the services: by their settings, or by what
// stands between them.
const (
	// NewProcessorKeys gives each request to the processor an idempotency key of
	// its own, so that it does not know a repeat.
	NewProcessorKeys Sabotage = "new-processor-keys"
	// NoDerivedKeys gives each replica a secret of its own, so that what one derives
	// no other does.
	NoDerivedKeys Sabotage = "no-derived-keys"
	// NoUniqueConstraint lets the database have one key twice. Derived ids would
	// hide that, so that they go too.
	NoUniqueConstraint Sabotage = "no-unique-constraint"
	// NoCompleter finishes nothing that was left open.
	NoCompleter Sabotage = "no-completer"
	// NoBulkhead lets any number of calls wait for one dependency.
	NoBulkhead Sabotage = "no-bulkhead"
	// NoBreaker goes on calling a dependency that does not answer.
	NoBreaker Sabotage = "no-breaker"
	// NoShedding accepts every request.
	NoShedding Sabotage = "no-shedding"
	// NoReservation sends requests to models without asking the budget whether it has
	// room for the worst that they can cost.
	NoReservation Sabotage = "no-reservation"
	// NoReconciler asks no provider what became of a request whose replica died.
	NoReconciler Sabotage = "no-reconciler"
)

// withoutCompleter are the settings of NoCompleter.
var withoutCompleter = map[string]string{"HOLDFAST_COMPLETER_INTERVAL": "24h"}

// arguments are what `holdfast serve` is told.
func (s Sabotage) arguments() []string {
	switch s {
	case NoDrain, NoReadinessFlip:
		return []string{"--sabotage", string(s)}
	case NoEpoch:
		return []string{"--without", "epoch"}
	case NoSeal:
		return []string{"--without", "seal"}
	case NoReservation:
		return []string{"--without", "reservation"}
	default:
		return nil
	}
}

// Sabotages are those that the named drill knows.
func Sabotages(drill string) []Sabotage {
	var known []Sabotage
	for _, d := range All() {
		if d.Name == drill {
			for _, s := range d.Sabotages {
				known = append(known, s.Sabotage)
			}
		}
	}
	return known
}

// ParseSabotage reads the sabotage of the named drill.
func ParseSabotage(drill, text string) (Sabotage, error) {
	var names []string
	for _, known := range Sabotages(drill) {
		if string(known) == text {
			return known, nil
		}
		names = append(names, string(known))
	}
	if text == "" {
		return "", nil
	}
	return "", fmt.Errorf("unknown sabotage %q: drill %s knows %s", text, drill, strings.Join(names, " and "))
}
