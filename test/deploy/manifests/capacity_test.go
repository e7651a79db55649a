package manifests

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var capacityControls = map[string][]control{
	"the pools of all pods fit the database": {
		{mistake: "larger pools by setting", make: func(o Objects) { config(o, "orders-config").Data["HOLDFAST_DATABASE_MAX_CONNS"] = "40" }, problem: "Deployment orders 7 x 40"},
		{mistake: "more replicas", make: func(o Objects) { deployment(o, "payments").Spec.Replicas = pointer(int32(30)) }, problem: "Deployment payments 36 x 10"},
		{mistake: "an autoscaler that goes too far", with: "autoscaling", make: func(o Objects) {
			named[*autoscalingv2.HorizontalPodAutoscaler](o, "orders").Spec.MaxReplicas = 30
		}, problem: "Deployment orders 36 x 10"},
		{mistake: "a rollout all at once", make: func(o Objects) {
			deployment(o, "orders").Spec.Strategy.RollingUpdate.MaxSurge = pointer(intstr.FromString("1000%"))
		}, problem: "Deployment orders 36 x 10"},
		{mistake: "a service that nobody counted", overlay: "blue-green", make: func(o Objects) {
			config(o, "llm-gateway-config").Data["HOLDFAST_DATABASE_MAX_CONNS"] = "10"
		}, problem: "Deployment llm-gateway-blue 7 x 10"},
		{mistake: "one colour that is forgotten", overlay: "blue-green", make: func(o Objects) { deployment(o, "orders-green").Spec.Replicas = pointer(int32(4)) }, problem: "Deployment orders-green 9 x 10"},
		{mistake: "a server with the default", make: func(o Objects) { postgres(o).Spec.Template.Spec.Containers[0].Args = nil }, problem: "max_connections is not set"},
		{mistake: "a smaller server of one's own", overlay: "production", make: func(o Objects) {
			named[*corev1.Namespace](o, Namespace).Annotations[maxConnectionsAnnotation] = "100"
		}, problem: "connections of 100"},
		{mistake: "a server of one's own that nobody described", overlay: "production", make: func(o Objects) {
			named[*corev1.Namespace](o, Namespace).Annotations = nil
		}, problem: "no annotation"},
	},
	"every container says what it needs": {
		{mistake: "no memory limit", make: func(o Objects) { delete(containerOf(o, "orders").Resources.Limits, corev1.ResourceMemory) }, problem: "limited to 0"},
		{mistake: "memory that is promised to nobody", make: func(o Objects) {
			containerOf(o, "orders").Resources.Requests[corev1.ResourceMemory] = resource.MustParse("64Mi")
		}, problem: "requests 64Mi of memory and is limited to 256Mi"},
		{mistake: "no request for CPU", make: func(o Objects) { delete(containerOf(o, "sandbox").Resources.Requests, corev1.ResourceCPU) }, problem: "requests no CPU"},
		{mistake: "a CPU limit beside the request", make: func(o Objects) {
			containerOf(o, "orders").Resources.Limits[corev1.ResourceCPU] = resource.MustParse("2")
		}, problem: "throttled at 2 CPU"},
		{mistake: "no bound on the disk", make: func(o Objects) { delete(containerOf(o, "orders").Resources.Limits, corev1.ResourceEphemeralStorage) }, problem: "ephemeral-storage"},
		{mistake: "a volume without an end", make: func(o Objects) { podOf(o, "sandbox").Volumes[0].EmptyDir.SizeLimit = nil }, problem: "may fill the node"},
		{mistake: "a volume larger than its pod", make: func(o Objects) {
			podOf(o, "sandbox").Volumes[0].EmptyDir.SizeLimit = pointer(resource.MustParse("1Gi"))
		}, problem: "may hold 1Gi, and the pod is evicted at 576Mi"},
	},
	"what containers need fits LimitRange and ResourceQuota": {
		{mistake: "a container beyond the maximum", make: func(o Objects) {
			containerOf(o, "orders").Resources.Limits[corev1.ResourceMemory] = resource.MustParse("2Gi")
		}, problem: "more than the 1Gi of the LimitRange"},
		{mistake: "a container below the minimum", make: func(o Objects) {
			containerOf(o, "orders").Resources.Requests[corev1.ResourceMemory] = resource.MustParse("1Mi")
		}, problem: "less than the 16Mi of the LimitRange"},
		{mistake: "a default CPU limit for everybody", make: func(o Objects) {
			all[*corev1.LimitRange](o)[0].Spec.Limits[0].Max[corev1.ResourceCPU] = resource.MustParse("4")
		}, problem: "gives every container a CPU limit"},
		{mistake: "no quota", make: func(o Objects) { remove(o, all[*corev1.ResourceQuota](o)[0]) }, problem: "0 ResourceQuotas"},
		{mistake: "a quota without room for the surge", make: func(o Objects) {
			quota(o)[corev1.ResourcePods] = resource.MustParse("10")
		}, problem: "needs 26 of pods, and 10 is allowed"},
		{mistake: "a quota without room for the memory", make: func(o Objects) {
			quota(o)["limits.memory"] = resource.MustParse("2Gi")
		}, problem: "of limits.memory, and 2Gi is allowed"},
		{mistake: "a quota on what containers do not say", make: func(o Objects) {
			quota(o)["limits.cpu"] = resource.MustParse("8")
		}, problem: "nobody counts limits.cpu"},
	},
}

func quota(o Objects) corev1.ResourceList { return all[*corev1.ResourceQuota](o)[0].Spec.Hard }

func postgres(o Objects) *appsv1.StatefulSet { return named[*appsv1.StatefulSet](o, "postgres") }

func TestPodsThatDrainCountUntilTheyAreGone(t *testing.T) {
	objects := subject{name: "rolling", overlay: "rolling"}.objects(t)
	d := deployment(objects, "orders")
	pods := func() int {
		return workload{"Deployment orders", d, &d.Spec.Template, d.Spec.Selector}.mostPods(objects)
	}
	for _, c := range []struct {
		why      string
		replicas int32
		ready    int32
		grace    int64
		most     int
	}{
		{"three serve, one is new, three have 45 s to go and one is told so every 10 s", 3, 10, 45, 7},
		{"of twenty, five can be told within 45 s", 20, 10, 45, 26},
		{"a minute between two leaves one at a time", 20, 60, 45, 22},
		{"without minReadySeconds all can be told at once", 20, 0, 45, 41},
	} {
		d.Spec.Replicas, d.Spec.MinReadySeconds = &c.replicas, c.ready
		d.Spec.Template.Spec.TerminationGracePeriodSeconds = &c.grace
		require.Equal(t, c.most, pods(), c.why)
	}
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	require.Equal(t, 20, pods(), "all old ones go before the first new one comes")
}

func TestDefaultsAreThoseOfTheSource(t *testing.T) {
	known, err := variablesOf("orders")
	require.NoError(t, err)
	require.Equal(t, variable{fallback: "20s"}, known["HOLDFAST_DRAIN_CAP"])
	require.Equal(t, variable{fallback: "10"}, known["HOLDFAST_DATABASE_MAX_CONNS"])
	require.True(t, known["HOLDFAST_DATABASE_URL"].secret)
	pool, err := migrationPool()
	require.NoError(t, err)
	require.Equal(t, 3, pool)
	longest, err := longestRoute()
	require.NoError(t, err)
	require.Equal(t, 5*time.Minute, longest)
	_, err = variablesOf("warehouse")
	require.Error(t, err, "a service that does not exist has no settings")
	for name := range known {
		require.False(t, strings.Contains(name, " "), name)
	}
}
