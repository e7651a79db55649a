package drill

import (
	"fmt"
	"slices"
	"strings"
)

// Sabotage names what is broken on purpose; empty for nothing. Services take it
// by the hidden flag of `holdfast serve`; their own binaries do not have it.
type Sabotage string

// The sabotages.
const (
	// NoDrain stops a replica at once on SIGTERM, as a process does that does
	// not handle the signal.
	NoDrain Sabotage = "no-drain"
	// NoReadinessFlip drains, but goes on saying that it is ready.
	NoReadinessFlip Sabotage = "no-readiness-flip"
)

// Sabotages are those that a drill knows, by the drill's name.
var Sabotages = map[string][]Sabotage{
	RollingName: {NoDrain, NoReadinessFlip},
}

// ParseSabotage reads the sabotage of the named drill.
func ParseSabotage(drill, text string) (Sabotage, error) {
	known := Sabotages[drill]
	if text == "" || slices.Contains(known, Sabotage(text)) {
		return Sabotage(text), nil
	}
	names := make([]string, len(known))
	for i, s := range known {
		names[i] = string(s)
	}
	return "", fmt.Errorf("unknown sabotage %q: drill %s knows %s", text, drill, strings.Join(names, " and "))
}
