package main

import (
	"regexp"
	"strings"
)

// contractPattern is the comment that a drop needs:
//
//	-- contract: unused since v0.2.0
//	-- contract: unused since v0.2.0, expanded by 00003
//
// It names the release that stopped using the thing, and the migration that
// made what took its place, if anything did.
var contractPattern = regexp.MustCompile(`^-- contract: unused since (\S+?)(?:, expanded by ([0-9]+))?$`)

// contracted reports whether the statement may take away what an earlier
// release used. Three releases meet: one that writes the old and the new, one
// that has stopped using the old, and the one that this migration goes out
// with. Each must be its own, because two neighbours serve at once.
func (f *file) contracted() (marked bool) {
	for line := range strings.Lines(f.comment) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(strings.ToLower(line), "-- contract") {
			continue
		}
		match := contractPattern.FindStringSubmatch(line)
		if match == nil {
			f.report("contract", "write it as `-- contract: unused since v1.2.0, expanded by 00003`")
			return true
		}
		f.checkContract(match[1], match[2])
		return true
	}
	return false
}

func (f *file) checkContract(version, expand string) {
	stopped := f.past.findRelease(version)
	here := f.past.find(f.name)
	if here < 0 {
		here = len(f.past.events) // it comes next
	}
	switch {
	case stopped < 0:
		f.report("contract", "%s is no release in %s: what it stops using can go in the release after it", version, sumFile)
		return
	case stopped >= here:
		f.report("contract", "%s is the release of this migration or a later one: it may still be using this", version)
		return
	case expand == "":
		return
	}
	expanded := -1
	for i, e := range f.past.events {
		if strings.HasPrefix(e.file, expand+"_") {
			expanded = i
		}
	}
	switch {
	case expanded < 0:
		f.report("contract", "there is no migration %s in %s", expand, sumFile)
	case expanded > stopped || !f.past.releasedBetween(expanded, stopped):
		f.report("contract", "migration %s and the end of the old went out in the same release, %s: whoever served before knew only the old", expand, version)
	}
}
