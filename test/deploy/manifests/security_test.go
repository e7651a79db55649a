package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var securityControls = map[string][]control{
	"pods are admitted under the restricted Pod Security standard": {
		{mistake: "a privileged container", make: func(o Objects) { containerOf(o, "orders").SecurityContext.Privileged = pointer(true) }, problem: "privileged"},
		{mistake: "a process that may be root", make: func(o Objects) { podOf(o, "orders").SecurityContext.RunAsNonRoot = nil }, problem: "runAsNonRoot != true"},
		{mistake: "root by number", make: func(o Objects) { podOf(o, "orders").SecurityContext.RunAsUser = pointer(int64(0)) }, problem: "runAsUser=0"},
		{mistake: "all system calls", make: func(o Objects) { podOf(o, "orders").SecurityContext.SeccompProfile = nil }, problem: "seccompProfile"},
		{mistake: "capabilities that are kept", make: func(o Objects) { containerOf(o, "orders").SecurityContext.Capabilities = nil }, problem: "unrestricted capabilities"},
		{mistake: "privileges that may grow", make: func(o Objects) { containerOf(o, "orders").SecurityContext.AllowPrivilegeEscalation = nil }, problem: "allowPrivilegeEscalation != false"},
		{mistake: "a path of the node", make: func(o Objects) {
			podOf(o, "orders").Volumes = append(podOf(o, "orders").Volumes, corev1.Volume{Name: "node", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
		}, problem: "restricted volume types"},
		{mistake: "the network of the node", make: func(o Objects) { podOf(o, "orders").HostNetwork = true }, problem: "host namespaces"},
		{mistake: "a migration that may be root", make: func(o Objects) { jobOf(o, "orders").Spec.Template.Spec.SecurityContext = nil }, problem: "Job orders-migrate-dev"},
		{mistake: "a root that can be written", make: func(o Objects) { containerOf(o, "orders").SecurityContext.ReadOnlyRootFilesystem = nil }, problem: "may write to its root"},
		{mistake: "a namespace that enforces nothing", make: func(o Objects) {
			delete(named[*corev1.Namespace](o, Namespace).Labels, "pod-security.kubernetes.io/enforce")
		}, problem: "does not enforce"},
	},
	"no token of the API server is mounted": {
		{mistake: "nothing said", make: func(o Objects) { podOf(o, "orders").AutomountServiceAccountToken = nil }, problem: "Deployment orders"},
		{mistake: "a migration's", make: func(o Objects) { jobOf(o, "payments").Spec.Template.Spec.AutomountServiceAccountToken = nil }, problem: "Job payments-migrate-dev"},
	},
	"secrets come by reference": {
		{mistake: "a secret spelled out in a container", make: func(o Objects) {
			c := containerOf(o, "orders")
			c.Env = append(c.Env, corev1.EnvVar{Name: "HOLDFAST_SERVICE_TOKEN", Value: "hf_x_y"})
		}, problem: "the value of HOLDFAST_SERVICE_TOKEN"},
		{mistake: "a secret in a ConfigMap", overlay: "production", make: func(o Objects) {
			c := containerOf(o, "orders")
			c.Env = nil
			config(o, "orders-config").Data["HOLDFAST_DATABASE_URL"] = "postgres://me:secret@db"
		}, problem: "the value of HOLDFAST_DATABASE_URL"},
		{mistake: "a Secret in production", overlay: "production", make: func(o Objects) {
			o[0] = &corev1.Secret{}
			o[0].SetName("orders-secrets")
		}, problem: "Secret orders-secrets is in the manifests of production"},
		{mistake: "development settings in production", overlay: "production", make: func(o Objects) {
			config(o, "payments-config").Data["HOLDFAST_ENV"] = "development"
		}, problem: `HOLDFAST_ENV is "development"`},
		{mistake: "no key file in production", overlay: "production", make: func(o Objects) {
			config(o, "orders-config").Data["HOLDFAST_API_KEYS_FILE"] = ""
		}, problem: "nobody could call"},
	},
	"no Service leads to the admin port": {
		{mistake: "a port that is declared", make: func(o Objects) {
			c := containerOf(o, "orders")
			c.Ports = append(c.Ports, corev1.ContainerPort{Name: "admin", ContainerPort: 8082})
		}, problem: "declares the admin port"},
		{mistake: "a Service to its number", make: func(o Objects) {
			service(o, "orders").Spec.Ports[0].TargetPort = intstr.FromInt32(8082)
		}, problem: "leads to a number, 8082"},
		{mistake: "an address that others reach", make: func(o Objects) {
			config(o, "orders-config").Data["HOLDFAST_ADMIN_ADDR"] = ":8082"
		}, problem: "listens on :8082"},
		{mistake: "a port that no pod has", make: func(o Objects) {
			service(o, "orders").Spec.Ports[0].TargetPort = intstr.FromString("web")
		}, problem: "has no port web"},
		{mistake: "a Service of nobody", make: func(o Objects) {
			service(o, "sandbox").Spec.Selector = map[string]string{nameLabel: "sandpit"}
		}, problem: "nothing is behind it"},
	},
}
