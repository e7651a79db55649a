package manifests

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// findHalfSwitch: where Deployments have colours, the Services of the traffic,
// the preview and the workers must agree on which is active.
func findHalfSwitch(objects Objects) []string {
	var found problems
	colours := map[string][]string{}
	for _, w := range servers(objects) {
		if slot := w.template.Labels[slotLabel]; slot != "" {
			colours[w.service()] = append(colours[w.service()], slot)
			found.check(w.selector.MatchLabels[slotLabel] == slot, "%s: its selector does not name its colour", w.name)
			found.check(w.object.GetName() == w.service()+"-"+slot, "%s: its colour is %s", w.name, slot)
			found.check(w.object.GetLabels()[slotLabel] == slot, "%s: it is labelled %q", w.name, w.object.GetLabels()[slotLabel])
			found = append(found, findBlindColour(w)...)
		}
	}
	for service, slots := range colours {
		slices.Sort(slots)
		found.check(slices.Equal(slots, []string{"blue", "green"}), "%s has the colours %s", service, strings.Join(slots, ", "))
		selected := func(name string) string {
			s := named[*corev1.Service](objects, name)
			if s == nil {
				return "nothing"
			}
			found.check(s.Labels[switchLabel] != "", "Service %s is not labelled %s", name, switchLabel)
			return s.Spec.Selector[slotLabel]
		}
		active, headless, idle := selected(service), selected(service+"-headless"), selected(service+"-preview")
		found.check(slices.Contains(slots, active) && active == headless, "%s selects %s and its headless Service %s", service, active, headless)
		found.check(slices.Contains(slots, idle) && idle != active, "the preview of %s selects %s while %s is active", service, idle, active)
		config := named[*corev1.ConfigMap](objects, service+"-slot")
		found.check(config != nil && config.Data["active"] == active, "the workers of %s are not told that %s is active", service, active)
	}
	return found
}

// findBlindColour wants a pod to read which colour is active from a file that
// changes while it runs.
func findBlindColour(w workload) []string {
	var found problems
	set := environment(nil, w.container())
	file := set["HOLDFAST_ACTIVE_SLOT_FILE"]
	_, own := set["HOLDFAST_SLOT"]
	found.check(own && file != "", "%s is not told its colour and where the active one is", w.name)
	for _, mount := range w.container().VolumeMounts {
		if strings.HasPrefix(file, mount.MountPath+"/") {
			found.check(mount.SubPath == "", "%s: a file mounted by subPath never changes", w.name)
			return found
		}
	}
	found.add("%s: nothing is mounted where %s is", w.name, file)
	return found
}
