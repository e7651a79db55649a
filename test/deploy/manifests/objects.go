package manifests

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Objects are what one kustomization builds, as the Go types of Kubernetes.
type Objects []metav1.Object

// kinds are all kinds that the platform deploys. One that is not here fails to
// decode: whoever adds it thinks of the checks that it needs.
var kinds = map[metav1.TypeMeta]func() metav1.Object{
	{APIVersion: "v1", Kind: "Namespace"}:                           func() metav1.Object { return new(corev1.Namespace) },
	{APIVersion: "v1", Kind: "LimitRange"}:                          func() metav1.Object { return new(corev1.LimitRange) },
	{APIVersion: "v1", Kind: "ResourceQuota"}:                       func() metav1.Object { return new(corev1.ResourceQuota) },
	{APIVersion: "v1", Kind: "ConfigMap"}:                           func() metav1.Object { return new(corev1.ConfigMap) },
	{APIVersion: "v1", Kind: "Secret"}:                              func() metav1.Object { return new(corev1.Secret) },
	{APIVersion: "v1", Kind: "Service"}:                             func() metav1.Object { return new(corev1.Service) },
	{APIVersion: "apps/v1", Kind: "Deployment"}:                     func() metav1.Object { return new(appsv1.Deployment) },
	{APIVersion: "apps/v1", Kind: "StatefulSet"}:                    func() metav1.Object { return new(appsv1.StatefulSet) },
	{APIVersion: "batch/v1", Kind: "Job"}:                           func() metav1.Object { return new(batchv1.Job) },
	{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}:          func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}: func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
	{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}:     func() metav1.Object { return new(networkingv1.NetworkPolicy) },
}

// Decode turns YAML documents into objects. A field that the kind does not have,
// a field given twice, or a kind that is not known is an error.
func Decode(documents [][]byte) (Objects, error) {
	var objects Objects
	var problems []error
	for _, document := range documents {
		object, err := decode(document)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		objects = append(objects, object)
	}
	return objects, errors.Join(problems...)
}

func decode(document []byte) (metav1.Object, error) {
	var kind metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return nil, fmt.Errorf("reading the kind of an object: %w", err)
	}
	create, known := kinds[kind.TypeMeta]
	if !known {
		return nil, fmt.Errorf("%s %s: no kind of %s that is known here", kind.Kind, kind.Name, kind.APIVersion)
	}
	object := create()
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind.Kind, kind.Name, err)
	}
	// The decoder of the API server: unlike Go's own, it tells clusterIp from
	// clusterIP.
	unknown, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind.Kind, kind.Name, err)
	}
	return object, nil
}

// all returns the objects of one type.
func all[T metav1.Object](objects Objects) []T {
	var found []T
	for _, object := range objects {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// named returns the object of that type and name; the zero T if there is none.
func named[T metav1.Object](objects Objects, name string) T {
	for _, object := range all[T](objects) {
		if object.GetName() == name {
			return object
		}
	}
	var none T
	return none
}
