package manifests

import (
	"path"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// workload is whatever makes pods: a Deployment, a StatefulSet or a Job.
type workload struct {
	name     string // with its kind: Deployment orders
	object   metav1.Object
	template *corev1.PodTemplateSpec
	selector *metav1.LabelSelector // nil: a Job's, which Kubernetes makes
}

func workloads(objects Objects) []workload {
	var found []workload
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found = append(found, workload{"Deployment " + o.Name, o, &o.Spec.Template, o.Spec.Selector})
		case *appsv1.StatefulSet:
			found = append(found, workload{"StatefulSet " + o.Name, o, &o.Spec.Template, o.Spec.Selector})
		case *batchv1.Job:
			found = append(found, workload{"Job " + o.Name, o, &o.Spec.Template, nil})
		}
	}
	return found
}

// servers are the Deployments of the platform's own services, sandbox included.
func servers(objects Objects) []workload {
	var found []workload
	for _, w := range workloads(objects) {
		if _, ok := w.object.(*appsv1.Deployment); ok && w.service() != "" {
			found = append(found, w)
		}
	}
	return found
}

// container is the one that does the work.
func (w workload) container() *corev1.Container { return &w.template.Spec.Containers[0] }

// service is which of the platform's binaries runs: orders, whatever the
// registry, the tag or the Deployment's own name. Empty: none of them.
func (w workload) service() string {
	repository, _ := splitImage(w.container().Image)
	switch service := strings.TrimSuffix(path.Base(repository), "-canary"); service {
	case "llm-gateway", "orders", "payments", "sandbox":
		return service
	default:
		return ""
	}
}

// splitImage cuts the tag or digest off an image's name.
func splitImage(image string) (repository, tag string) {
	if repository, digest, ok := strings.Cut(image, "@"); ok {
		return repository, digest
	}
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i], image[i+1:]
	}
	return image, ""
}

// autoscaler returns what owns the number of replicas; nil if nothing does.
func (w workload) autoscaler(objects Objects) *autoscalingv2.HorizontalPodAutoscaler {
	for _, h := range all[*autoscalingv2.HorizontalPodAutoscaler](objects) {
		if target := h.Spec.ScaleTargetRef; w.name == target.Kind+" "+target.Name {
			return h
		}
	}
	return nil
}

// mostPods is how many pods there can be at once: all replicas, one more in a
// rollout, and those that are told to go and have not gone yet. A rollout waits
// for minReadySeconds after each new pod, and for no old one.
func (w workload) mostPods(objects Objects) int {
	switch o := w.object.(type) {
	case *appsv1.StatefulSet:
		return int(valueOr(o.Spec.Replicas, 1))
	case *batchv1.Job:
		return int(valueOr(o.Spec.Parallelism, 1))
	case *appsv1.Deployment:
		replicas := int(valueOr(o.Spec.Replicas, 1))
		if h := w.autoscaler(objects); h != nil {
			replicas = int(h.Spec.MaxReplicas)
		}
		if o.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			return replicas
		}
		surge := 1
		if o.Spec.Strategy.RollingUpdate != nil && o.Spec.Strategy.RollingUpdate.MaxSurge != nil {
			surge, _ = intstr.GetScaledValueFromIntOrPercent(o.Spec.Strategy.RollingUpdate.MaxSurge, replicas, true)
		}
		grace := int(valueOr(o.Spec.Template.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds))
		going := replicas
		if ready := int(o.Spec.MinReadySeconds); ready > 0 {
			going = min(replicas, surge*((grace+ready-1)/ready))
		}
		return replicas + surge + going
	default:
		return 0
	}
}

func valueOr[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
