package manifests

import (
	"maps"
	"regexp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// findLooseTags: `latest` is another image tomorrow, and a pod that restarts
// tomorrow would be another version.
func findLooseTags(objects Objects) []string {
	var found problems
	for _, w := range workloads(objects) {
		for _, c := range slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers) {
			_, tag := splitImage(c.Image)
			found.check(tag != "" && tag != "latest", "%s: image %s has no tag that stays", w.name, c.Image)
			found.check(c.ImagePullPolicy == corev1.PullIfNotPresent, "%s: container %s pulls %s", w.name, c.Name, c.ImagePullPolicy)
		}
	}
	return found
}

// findBadMigrations: a Job cannot be changed, so another release needs another
// name; and one that hangs or fails must end, and be seen to have ended.
func findBadMigrations(objects Objects) []string {
	var found problems
	migrated := map[string]bool{}
	for _, job := range all[*batchv1.Job](objects) {
		w := workload{name: "Job " + job.Name, object: job, template: &job.Spec.Template}
		c := w.container()
		migrated[w.service()] = true
		_, tag := splitImage(c.Image)
		found.check(job.Name == w.service()+"-migrate-"+tag, "Job %s is not named after its image, %s", job.Name, c.Image)
		found.check(slices.Equal(c.Args, []string{"migrate"}), "Job %s: its arguments are %q", job.Name, c.Args)
		found.check(job.Spec.BackoffLimit != nil, "Job %s: no backoffLimit", job.Name)
		found.check(job.Spec.ActiveDeadlineSeconds != nil, "Job %s: no activeDeadlineSeconds", job.Name)
		found.check(job.Spec.TTLSecondsAfterFinished != nil, "Job %s: no ttlSecondsAfterFinished", job.Name)
		for _, from := range c.EnvFrom {
			found.check(from.ConfigMapRef == nil, "Job %s reads a ConfigMap: another setting would be another Job of the same name", job.Name)
		}
	}
	for _, w := range servers(objects) {
		found.check(migrated[w.service()] || w.service() == "sandbox", "%s: no Job migrates its database", w.name)
	}
	return found
}

var hashed = regexp.MustCompile(`-[a-z0-9]{10}$`)

// switchLabel marks what changes in the cluster while pods run.
const switchLabel = "holdfast.dev/switch"

// findStaleConfig: a ConfigMap whose name is a hash of its content makes a new
// pod template of a new setting. Those that pods read while they run have none.
func findStaleConfig(objects Objects) []string {
	var found problems
	for _, config := range all[*corev1.ConfigMap](objects) {
		live := config.Labels[switchLabel] != ""
		found.check(live != hashed.MatchString(config.Name), "ConfigMap %s: a name ends in a hash if, and only if, pods do not read it while they run", config.Name)
	}
	for _, w := range workloads(objects) {
		for _, name := range w.configMaps() {
			found.check(named[*corev1.ConfigMap](objects, name) != nil, "%s: there is no ConfigMap %s", w.name, name)
		}
	}
	return found
}

// configMaps are the names of those that a pod refers to.
func (w workload) configMaps() []string {
	var names []string
	for _, from := range w.container().EnvFrom {
		if from.ConfigMapRef != nil {
			names = append(names, from.ConfigMapRef.Name)
		}
	}
	for _, v := range w.template.Spec.Volumes {
		if v.ConfigMap != nil {
			names = append(names, v.ConfigMap.Name)
		}
	}
	return names
}

// findUnknownSettings: a variable that nobody reads is a mistake that stays
// quiet.
func findUnknownSettings(objects Objects) []string {
	var found problems
	for _, w := range workloads(objects) {
		if w.service() == "" {
			continue
		}
		known, err := variablesOf(w.service())
		if err != nil {
			return []string{err.Error()}
		}
		for _, name := range slices.Sorted(maps.Keys(environment(objects, w.container()))) {
			_, ok := known[name]
			found.check(ok, "%s: %s has no setting %s", w.name, w.service(), name)
		}
	}
	return found
}

// findBadRollouts wants a new pod before an old one goes, some seconds to find
// out whether it lives, and replicas that do not fail together.
func findBadRollouts(objects Objects) []string {
	var found problems
	for _, w := range servers(objects) {
		d := w.object.(*appsv1.Deployment)
		if w.service() == "sandbox" {
			found.check(d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType, "%s: two sandboxes would be two ledgers", w.name)
			continue
		}
		update := d.Spec.Strategy.RollingUpdate
		if update == nil || update.MaxSurge == nil || update.MaxUnavailable == nil {
			found.add("%s: maxSurge and maxUnavailable are left to their defaults", w.name)
			continue
		}
		found.check(*update.MaxUnavailable == intstr.FromInt32(0), "%s: a rollout may take away %s", w.name, update.MaxUnavailable.String())
		found.check(*update.MaxSurge != intstr.FromInt32(0), "%s: a rollout may add nothing", w.name)
		found.check(d.Spec.MinReadySeconds > 0, "%s: a pod counts as available at once", w.name)
		if h := w.autoscaler(objects); h != nil || valueOr(d.Spec.Replicas, 1) > 1 {
			found = append(found, findBadSpread(d)...)
		}
	}
	return found
}

// findBadBudgets wants a budget for every service, one that lets a pod be
// evicted while all are well.
func findBadBudgets(objects Objects) []string {
	var found problems
	protected := map[string]bool{}
	for _, budget := range all[*policyv1.PodDisruptionBudget](objects) {
		name := "PodDisruptionBudget " + budget.Name
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil {
			return []string{err.Error()}
		}
		pods := 0
		for _, w := range servers(objects) {
			if !selector.Matches(labels.Set(w.template.Labels)) {
				continue
			}
			protected[w.name] = true
			d := w.object.(*appsv1.Deployment)
			if h := w.autoscaler(objects); h != nil {
				pods += int(valueOr(h.Spec.MinReplicas, 1))
			} else {
				pods += int(valueOr(d.Spec.Replicas, 1))
			}
		}
		found.check(pods > 0, "%s: it protects nothing", name)
		found.check(evictable(budget.Spec, pods) > 0, "%s: no pod of %d may ever be evicted, so no node can be drained", name, pods)
		found.check(valueOr(budget.Spec.UnhealthyPodEvictionPolicy, "") == policyv1.AlwaysAllow, "%s: pods that are not ready hold up a drain", name)
	}
	for _, w := range servers(objects) {
		found.check(protected[w.name] || w.service() == "sandbox", "%s: a drain may evict all its pods at once", w.name)
	}
	return found
}

// evictable is how many of that many healthy pods a budget gives away.
func evictable(spec policyv1.PodDisruptionBudgetSpec, pods int) int {
	if spec.MaxUnavailable != nil {
		n, _ := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, pods, true)
		return n
	}
	if spec.MinAvailable != nil {
		n, _ := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, pods, true)
		return pods - n
	}
	return pods
}

// findTwoOwners: where an autoscaler decides, a number in the Deployment would
// undo its decision with every apply.
func findTwoOwners(objects Objects) []string {
	var found problems
	owned := map[string]bool{}
	for _, w := range servers(objects) {
		d := w.object.(*appsv1.Deployment)
		h := w.autoscaler(objects)
		found.check((h == nil) != (d.Spec.Replicas == nil), "%s: its replicas must be said by itself or by an autoscaler, not by both or none", w.name)
		if h != nil {
			owned[h.Name] = true
			found.check(valueOr(h.Spec.MinReplicas, 1) > 1, "%s: the autoscaler may leave one replica", w.name)
		}
	}
	for _, h := range all[*autoscalingv2.HorizontalPodAutoscaler](objects) {
		found.check(owned[h.Name], "HorizontalPodAutoscaler %s: there is no %s %s", h.Name, h.Spec.ScaleTargetRef.Kind, h.Spec.ScaleTargetRef.Name)
	}
	return found
}

// findStrays: an object that a component brings must not land in another
// namespace, or outside what the platform labels its own.
func findStrays(objects Objects) []string {
	var found problems
	for _, object := range objects {
		if namespace, ok := object.(*corev1.Namespace); ok {
			found.check(namespace.Name == Namespace, "Namespace %s is not %s", namespace.Name, Namespace)
			continue
		}
		found.check(object.GetNamespace() == Namespace, "%s is in namespace %q", object.GetName(), object.GetNamespace())
		if _, generated := object.(*corev1.Secret); !generated {
			found.check(object.GetLabels()["app.kubernetes.io/part-of"] == "holdfast", "%s is not labelled as part of holdfast", object.GetName())
		}
	}
	return found
}
