package manifests

import "fmt"

// Check is one promise about manifests.
type Check struct {
	// Name says what holds.
	Name string
	// Find returns what breaks it, a sentence each.
	Find func(Objects) []string
}

// Checks returns all checks that hold for every overlay.
func Checks() []Check {
	return []Check{
		{"pods are admitted under the restricted Pod Security standard", findInsecurePods},
		{"no token of the API server is mounted", findTokens},
		{"secrets come by reference", findSpelledSecrets},
		{"no Service leads to the admin port", findExposedAdmin},
		{"a pod is given the time its shutdown takes", findShortGrace},
		{"what a model writes ends where it began", findCutGenerations},
		{"traffic has time to go elsewhere before SIGTERM", findNoPreStop},
		{"probes ask what they are for, and in time", findBadProbes},
		{"the pools of all pods fit the database", findCrowdedDatabase},
		{"every container says what it needs", findMissingResources},
		{"what containers need fits LimitRange and ResourceQuota", findQuotaTrouble},
		{"selectors name what no release changes", findLeakySelectors},
		{"images have a tag that stays", findLooseTags},
		{"a migration is named after its release, and ends", findBadMigrations},
		{"a changed setting changes the pods", findStaleConfig},
		{"settings are ones that the service has", findUnknownSettings},
		{"a rollout never takes capacity away", findBadRollouts},
		{"a node can be drained, one pod at a time", findBadBudgets},
		{"one owner decides the number of replicas", findTwoOwners},
		{"everything is in one namespace", findStrays},
		{"the switch of blue/green is consistent", findHalfSwitch},
		{"only named flows pass", findBadFlows},
	}
}

// problems collects what a check finds.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// check adds a problem unless ok.
func (p *problems) check(ok bool, format string, args ...any) {
	if !ok {
		p.add(format, args...)
	}
}
