package manifests

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The labels that selectors may name: what a pod is, and for two Deployments of
// one service, which of them it belongs to.
const (
	nameLabel     = "app.kubernetes.io/name"
	instanceLabel = "app.kubernetes.io/instance"
	slotLabel     = "holdfast.dev/slot"
	trackLabel    = "holdfast.dev/track"
)

var selectable = []string{nameLabel, instanceLabel, slotLabel}

// findLeakySelectors: the selector of a Deployment can never be changed, so a
// label that a release changes must not get into one; and one that selects what
// it should not gives its traffic, or its name, to strangers.
func findLeakySelectors(objects Objects) []string {
	var found problems
	seen := map[string]string{}
	for _, w := range workloads(objects) {
		if w.selector == nil {
			continue
		}
		found = append(found, findLeaks(w.name, w.selector.MatchLabels)...)
		found.check(len(w.selector.MatchExpressions) == 0, "%s: its selector has expressions", w.name)
		found.check(contains(w.template.Labels, w.selector.MatchLabels), "%s: its selector does not match its own pods", w.name)
		text := labels.Set(w.selector.MatchLabels).String()
		found.check(seen[text] == "", "%s has the same selector as %s", w.name, seen[text])
		seen[text] = w.name
		found.check(w.template.Labels[nameLabel] == w.object.GetLabels()[nameLabel], "%s: its pods are labelled %s", w.name, w.template.Labels[nameLabel])
	}
	for _, service := range all[*corev1.Service](objects) {
		found = append(found, findLeaks("Service "+service.Name, service.Spec.Selector)...)
		found.check(!service.Spec.PublishNotReadyAddresses, "Service %s publishes pods that are not ready", service.Name)
	}
	for _, budget := range all[*policyv1.PodDisruptionBudget](objects) {
		found = append(found, findLeaks("PodDisruptionBudget "+budget.Name, budget.Spec.Selector.MatchLabels)...)
	}
	for _, job := range all[*batchv1.Job](objects) {
		for _, service := range all[*corev1.Service](objects) {
			found.check(!contains(job.Spec.Template.Labels, service.Spec.Selector), "Service %s gives traffic to the pods of Job %s", service.Name, job.Name)
		}
	}
	return found
}

func findLeaks(where string, selector map[string]string) []string {
	var found problems
	for _, label := range slices.Sorted(maps.Keys(selector)) {
		found.check(slices.Contains(selectable, label), "%s selects by %s", where, label)
	}
	found.check(selector[nameLabel] != "", "%s does not select by %s", where, nameLabel)
	return found
}

// findBadSpread wants the constraints of a Deployment to count its own pods of
// one version: pods of the version that goes must not decide where the new ones
// come.
func findBadSpread(d *appsv1.Deployment) []string {
	var found problems
	wanted := []string{corev1.LabelHostname, corev1.LabelTopologyZone}
	for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
		wanted = slices.DeleteFunc(wanted, func(key string) bool { return key == c.TopologyKey })
		found.check(slices.Contains(c.MatchLabelKeys, appsv1.DefaultDeploymentUniqueLabelKey),
			"Deployment %s: its spread over %s counts the pods of every version", d.Name, c.TopologyKey)
		selector, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
		found.check(err == nil && selector.Matches(labels.Set(d.Spec.Template.Labels)),
			"Deployment %s: its spread over %s does not count its own pods", d.Name, c.TopologyKey)
	}
	for _, key := range wanted {
		found.add("Deployment %s: nothing spreads its replicas over %s", d.Name, key)
	}
	return found
}
