package manifests

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// margin is for what nothing counts: the kubelet's own round trips, and a
// process that gets too little CPU to hurry.
const margin = 6 * time.Second

// shutdownParts are the settings that bound the steps of a shutdown, in their
// order. A service that has not all of them has not all of the steps.
var shutdownParts = []string{
	"HOLDFAST_LAME_DUCK", "HOLDFAST_DRAIN_CAP", "HOLDFAST_STOP_WORKERS", "HOLDFAST_CLOSE_POOL", "HOLDFAST_FLUSH_TELEMETRY",
}

// findShortGrace adds up a shutdown: the kubelet kills what has not ended
// terminationGracePeriodSeconds after it began, and preStop is part of that.
func findShortGrace(objects Objects) []string {
	var found problems
	for _, w := range servers(objects) {
		s, err := w.settings(objects)
		if err != nil {
			return []string{err.Error()}
		}
		need := preStop(w.container()) + margin
		for _, name := range shutdownParts {
			d, err := s.duration(name)
			if err != nil {
				found.add("%s: %v", w.name, err)
			}
			need += d
		}
		grace := time.Duration(valueOr(w.template.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)) * time.Second
		found.check(grace >= need, "%s: a shutdown may take %v, and the pod is killed after %v", w.name, need, grace)
	}
	return found
}

// findCutGenerations wants a replica of llm-gateway that leaves to have as long as
// its longest route: what a model has begun to write is paid for, and nobody can go
// on with it elsewhere.
func findCutGenerations(objects Objects) []string {
	longest, err := longestRoute()
	if err != nil {
		return []string{err.Error()}
	}
	var found problems
	for _, w := range servers(objects) {
		if w.service() != "llm-gateway" {
			continue
		}
		s, err := w.settings(objects)
		if err != nil {
			return []string{err.Error()}
		}
		drain, err := s.duration("HOLDFAST_DRAIN_CAP")
		if err != nil {
			found.add("%s: %v", w.name, err)
			continue
		}
		found.check(drain >= longest, "%s: a generation may take %v, and is cut off after %v when its replica leaves", w.name, longest, drain)
	}
	return found
}

// leastPreStop is how long the news that a pod is going takes to reach every
// node and every balancer.
const leastPreStop = 5 * time.Second

// findNoPreStop wants the native sleep: a command would need a shell, which the
// images do not have, and one that cannot run counts as done.
func findNoPreStop(objects Objects) []string {
	var found problems
	for _, w := range servers(objects) {
		hook := w.container().Lifecycle
		switch {
		case hook == nil || hook.PreStop == nil:
			found.add("%s: no preStop", w.name)
		case hook.PreStop.Sleep == nil:
			found.add("%s: preStop is not a native sleep", w.name)
		default:
			found.check(preStop(w.container()) >= leastPreStop, "%s: preStop sleeps %v, less than %v", w.name, preStop(w.container()), leastPreStop)
		}
	}
	return found
}

func preStop(c *corev1.Container) time.Duration {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
		return 0
	}
	return time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
}
