package manifests

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// releaseControls are mistakes in how something is released.
var releaseControls = map[string][]control{
	"images have a tag that stays": {
		{mistake: "latest", make: func(o Objects) { containerOf(o, "orders").Image = "holdfast/orders:latest" }, problem: "holdfast/orders:latest"},
		{mistake: "no tag", make: func(o Objects) { containerOf(o, "orders").Image = "registry:5000/holdfast/orders" }, problem: "has no tag"},
		{mistake: "pulled every time", make: func(o Objects) { containerOf(o, "orders").ImagePullPolicy = corev1.PullAlways }, problem: "pulls Always"},
	},
	"a migration is named after its release, and ends": {
		{mistake: "a name for every release", make: func(o Objects) { jobOf(o, "orders").Name = "orders-migrate" }, problem: "not named after its image"},
		{mistake: "another image under the name", make: func(o Objects) { jobOf(o, "orders").Spec.Template.Spec.Containers[0].Image = "holdfast/orders:1.5.0" }, problem: "not named after its image"},
		{mistake: "a service that serves in the Job", make: func(o Objects) { jobOf(o, "orders").Spec.Template.Spec.Containers[0].Args = nil }, problem: "its arguments are []"},
		{mistake: "a Job that is tried for ever", make: func(o Objects) { jobOf(o, "orders").Spec.BackoffLimit = nil }, problem: "no backoffLimit"},
		{mistake: "a Job that may hang", make: func(o Objects) { jobOf(o, "orders").Spec.ActiveDeadlineSeconds = nil }, problem: "no activeDeadlineSeconds"},
		{mistake: "a Job that stays", make: func(o Objects) { jobOf(o, "orders").Spec.TTLSecondsAfterFinished = nil }, problem: "no ttlSecondsAfterFinished"},
		{mistake: "settings that change under one name", make: func(o Objects) {
			c := &jobOf(o, "orders").Spec.Template.Spec.Containers[0]
			c.EnvFrom = containerOf(o, "orders").EnvFrom
		}, problem: "reads a ConfigMap"},
		{mistake: "a database that nobody migrates", make: func(o Objects) { remove(o, jobOf(o, "payments")) }, problem: "Deployment payments: no Job migrates"},
	},
	"a rollout never takes capacity away": {
		{mistake: "the defaults", make: func(o Objects) { deployment(o, "orders").Spec.Strategy = appsv1.DeploymentStrategy{} }, problem: "left to their defaults"},
		{mistake: "one less while it lasts", make: func(o Objects) {
			deployment(o, "orders").Spec.Strategy.RollingUpdate.MaxUnavailable = pointer(intstr.FromInt32(1))
		}, problem: "may take away 1"},
		{mistake: "nothing in advance", make: func(o Objects) {
			deployment(o, "orders").Spec.Strategy.RollingUpdate.MaxSurge = pointer(intstr.FromInt32(0))
		}, problem: "may add nothing"},
		{mistake: "available at the first answer", make: func(o Objects) { deployment(o, "orders").Spec.MinReadySeconds = 0 }, problem: "available at once"},
		{mistake: "two sandboxes", make: func(o Objects) { deployment(o, "sandbox").Spec.Strategy = appsv1.DeploymentStrategy{} }, problem: "two ledgers"},
		{mistake: "all on one host", make: func(o Objects) { podOf(o, "orders").TopologySpreadConstraints = nil }, problem: "over kubernetes.io/hostname"},
		{mistake: "spread by what is about to go", make: func(o Objects) { podOf(o, "orders").TopologySpreadConstraints[0].MatchLabelKeys = nil }, problem: "counts the pods of every version"},
		{mistake: "spread by somebody else's pods", make: func(o Objects) {
			podOf(o, "orders").TopologySpreadConstraints[1].LabelSelector.MatchLabels[nameLabel] = "payments"
		}, problem: "does not count its own pods"},
		{mistake: "an autoscaler's all on one host", with: "autoscaling", make: func(o Objects) { podOf(o, "orders").TopologySpreadConstraints = nil }, problem: "over topology.kubernetes.io/zone"},
	},
	"a node can be drained, one pod at a time": {
		{mistake: "no budget", make: func(o Objects) { remove(o, budget(o, "orders")) }, problem: "Deployment orders: a drain may evict all"},
		{mistake: "a budget of nothing", make: func(o Objects) { budget(o, "orders").Spec.MaxUnavailable = pointer(intstr.FromInt32(0)) }, problem: "no node can be drained"},
		{mistake: "as many as there are", make: func(o Objects) {
			budget(o, "orders").Spec.MaxUnavailable = nil
			budget(o, "orders").Spec.MinAvailable = pointer(intstr.FromString("100%"))
		}, problem: "no pod of 3 may ever be evicted"},
		{mistake: "a budget for strangers", make: func(o Objects) { budget(o, "orders").Spec.Selector.MatchLabels[nameLabel] = "order" }, problem: "it protects nothing"},
		{mistake: "broken pods that hold up a drain", make: func(o Objects) { budget(o, "orders").Spec.UnhealthyPodEvictionPolicy = nil }, problem: "hold up a drain"},
		{mistake: "a colour without a budget", overlay: "blue-green", make: func(o Objects) {
			budget(o, "orders").Spec.Selector.MatchLabels[slotLabel] = "blue"
		}, problem: "Deployment orders-green: a drain may evict all"},
	},
	"one owner decides the number of replicas": {
		{mistake: "both", with: "autoscaling", make: func(o Objects) { deployment(o, "orders").Spec.Replicas = pointer(int32(3)) }, problem: "not by both or none"},
		{mistake: "none", make: func(o Objects) { deployment(o, "orders").Spec.Replicas = nil }, problem: "not by both or none"},
		{mistake: "an autoscaler of nobody", with: "autoscaling", make: func(o Objects) { autoscaler(o, "orders").Spec.ScaleTargetRef.Name = "order" }, problem: "there is no Deployment order"},
		{mistake: "an autoscaler that leaves one", with: "autoscaling", make: func(o Objects) { autoscaler(o, "orders").Spec.MinReplicas = nil }, problem: "may leave one replica"},
	},
}

func budget(o Objects, name string) *policyv1.PodDisruptionBudget {
	return named[*policyv1.PodDisruptionBudget](o, name)
}

func autoscaler(o Objects, name string) *autoscalingv2.HorizontalPodAutoscaler {
	return named[*autoscalingv2.HorizontalPodAutoscaler](o, name)
}

// jobOf is the migration of a service.
func jobOf(o Objects, service string) *batchv1.Job {
	return named[*batchv1.Job](o, service+"-migrate-dev")
}
