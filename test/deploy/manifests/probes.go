package manifests

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// worstStart is the longest that a pod was seen to take from scheduled to ready:
// all pods of an empty cluster of three nodes at once, on two CPUs, migration
// included. A pod in a rollout took 2 s.
const worstStart = 12 * time.Second

// findBadProbes holds the three probes to what they ask and to how long they
// may take. docs/guides/probes.md has the reasons.
func findBadProbes(objects Objects) []string {
	var found problems
	for _, w := range servers(objects) {
		c := w.container()
		paths := map[string]*corev1.Probe{"/startupz": c.StartupProbe, "/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe}
		complete := true
		for path, probe := range paths {
			if probe == nil || probe.HTTPGet == nil {
				found.add("%s: no probe asks %s over HTTP", w.name, path)
				complete = false
				continue
			}
			found.check(probe.HTTPGet.Path == path, "%s: the probe that should ask %s asks %s", w.name, path, probe.HTTPGet.Path)
			found.check(probe.HTTPGet.Port.StrVal == "probe", "%s: %s is asked on port %s, not on the probe port", w.name, path, probe.HTTPGet.Port.String())
			found.check(probe.TimeoutSeconds <= probe.PeriodSeconds, "%s: %s is asked every %d s and waited for %d s", w.name, path, probe.PeriodSeconds, probe.TimeoutSeconds)
		}
		if complete {
			found = append(found, w.findBadTiming(objects)...)
		}
	}
	return found
}

func (w workload) findBadTiming(objects Objects) []string {
	var found problems
	c := w.container()
	s, err := w.settings(objects)
	if err != nil {
		return []string{err.Error()}
	}
	// One for the server, one for the schema; see pkg/service/database.go.
	bound, err := s.duration("HOLDFAST_DATABASE_CONNECT_BOUND")
	if err != nil {
		found.add("%s: %v", w.name, err)
	}
	starting, ready, alive := patience(c.StartupProbe), patience(c.ReadinessProbe), patience(c.LivenessProbe)
	found.check(starting >= 2*bound, "%s: the startup probe gives up after %v, before the process does, which may wait %v twice", w.name, starting, bound)
	if bound > 0 {
		found.check(starting >= 3*worstStart, "%s: the startup probe gives up after %v, less than three times the worst start, %v", w.name, starting, worstStart)
	}
	found.check(alive > 2*ready, "%s: liveness gives up after %v and readiness after %v: traffic should be gone long before the process is", w.name, alive, ready)
	if d, ok := w.object.(*appsv1.Deployment); ok {
		deadline := time.Duration(valueOr(d.Spec.ProgressDeadlineSeconds, 600)) * time.Second
		need := starting + time.Duration(d.Spec.MinReadySeconds)*time.Second
		found.check(deadline >= need, "%s: a release counts as failed after %v, and one pod may take %v", w.name, deadline, need)
	}
	return found
}

// patience is how long a probe may fail before the kubelet acts.
func patience(p *corev1.Probe) time.Duration {
	return time.Duration(p.PeriodSeconds) * time.Second * time.Duration(p.FailureThreshold)
}
