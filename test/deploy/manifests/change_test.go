package manifests

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// changeControls are mistakes that show when something is changed later.
var changeControls = map[string][]control{
	"selectors name what no release changes": {
		{mistake: "a version in a selector", make: func(o Objects) {
			d := deployment(o, "orders")
			d.Spec.Selector.MatchLabels["app.kubernetes.io/version"] = "1.4.0"
			d.Spec.Template.Labels["app.kubernetes.io/version"] = "1.4.0"
		}, problem: "Deployment orders selects by app.kubernetes.io/version"},
		{mistake: "a common label in a selector", make: func(o Objects) {
			deployment(o, "orders").Spec.Selector.MatchLabels["app.kubernetes.io/part-of"] = "holdfast"
		}, problem: "selects by app.kubernetes.io/part-of"},
		{mistake: "a track in a selector", with: "canary", make: func(o Objects) {
			deployment(o, "orders-canary").Spec.Selector.MatchLabels[trackLabel] = "canary"
		}, problem: "selects by holdfast.dev/track"},
		{mistake: "a Service that leaves out the canary", with: "canary", make: func(o Objects) {
			service(o, "orders").Spec.Selector[trackLabel] = "stable"
		}, problem: "Service orders selects by holdfast.dev/track"},
		{mistake: "a budget by version", make: func(o Objects) {
			all[*policyv1.PodDisruptionBudget](o)[0].Spec.Selector.MatchLabels["version"] = "1"
		}, problem: "selects by version"},
		{mistake: "pods that are not its own", make: func(o Objects) { deployment(o, "orders").Spec.Template.Labels[nameLabel] = "order" }, problem: "does not match its own pods"},
		{mistake: "two Deployments of one selector", with: "canary", make: func(o Objects) {
			delete(deployment(o, "orders-canary").Spec.Selector.MatchLabels, instanceLabel)
		}, problem: "the same selector as"},
		{mistake: "a Service of everything", make: func(o Objects) { delete(service(o, "orders").Spec.Selector, nameLabel) }, problem: "Service orders does not select by"},
		{mistake: "a Service that includes migrations", make: func(o Objects) { jobOf(o, "orders").Spec.Template.Labels[nameLabel] = "orders" }, problem: "gives traffic to the pods of Job orders-migrate-dev"},
		{mistake: "addresses of pods that are not ready", make: func(o Objects) { service(o, "orders-headless").Spec.PublishNotReadyAddresses = true }, problem: "not ready"},
	},
	"a changed setting changes the pods": {
		{mistake: "a ConfigMap with a plain name", make: func(o Objects) {
			config(o, "orders-config").Name = "orders-config"
			containerOf(o, "orders").EnvFrom[0].ConfigMapRef.Name = "orders-config"
		}, problem: "ConfigMap orders-config:"},
		{mistake: "a switch that rolls every pod", overlay: "blue-green", make: func(o Objects) { config(o, "orders-slot").Name = "orders-slot-0123456789" }, problem: "ConfigMap orders-slot-0123456789"},
		{mistake: "a reference to no ConfigMap", make: func(o Objects) { containerOf(o, "orders").EnvFrom[0].ConfigMapRef.Name = "orders-config" }, problem: "there is no ConfigMap orders-config"},
		{mistake: "a volume of no ConfigMap", make: func(o Objects) { remove(o, config(o, "postgres-passwd")) }, problem: "StatefulSet postgres: there is no ConfigMap"},
	},
	"settings are ones that the service has": {
		{mistake: "a misspelt setting", make: func(o Objects) { config(o, "orders-config").Data["HOLDFAST_LAMEDUCK"] = "2s" }, problem: "orders has no setting HOLDFAST_LAMEDUCK"},
		{mistake: "a setting of another service", make: func(o Objects) {
			c := containerOf(o, "sandbox")
			c.Env = append(c.Env, corev1.EnvVar{Name: "HOLDFAST_PAYMENTS_TARGET", Value: "x"})
		}, problem: "sandbox has no setting HOLDFAST_PAYMENTS_TARGET"},
	},
	"everything is in one namespace": {
		{mistake: "another namespace", make: func(o Objects) { deployment(o, "orders").Namespace = "default" }, problem: `orders is in namespace "default"`},
		{mistake: "none", make: func(o Objects) { service(o, "orders").Namespace = "" }, problem: `orders is in namespace ""`},
		{mistake: "another name of the namespace", make: func(o Objects) { all[*corev1.Namespace](o)[0].Name = "shop" }, problem: "Namespace shop"},
		{mistake: "an object without the platform's label", make: func(o Objects) { service(o, "orders").Labels = nil }, problem: "orders is not labelled"},
	},
	"the switch of blue/green is consistent": {
		{mistake: "half of a switch", overlay: "blue-green", make: func(o Objects) { service(o, "orders").Spec.Selector[slotLabel] = "green" }, problem: "orders selects green and its headless Service blue"},
		{mistake: "a preview of what serves", overlay: "blue-green", make: func(o Objects) { service(o, "orders-preview").Spec.Selector[slotLabel] = "blue" }, problem: "selects blue while blue is active"},
		{mistake: "both colours behind one Service", overlay: "blue-green", make: func(o Objects) { delete(service(o, "payments").Spec.Selector, slotLabel) }, problem: "payments selects "},
		{mistake: "no preview", overlay: "blue-green", make: func(o Objects) { remove(o, service(o, "orders-preview")) }, problem: "the preview of orders selects nothing"},
		{mistake: "workers of the idle colour", overlay: "blue-green", make: func(o Objects) { config(o, "orders-slot").Data["active"] = "green" }, problem: "not told that blue is active"},
		{mistake: "one colour only", overlay: "blue-green", make: func(o Objects) { remove(o, deployment(o, "orders-green")) }, problem: "orders has the colours blue"},
		{mistake: "a colour that can be repainted", overlay: "blue-green", make: func(o Objects) { delete(deployment(o, "orders-blue").Spec.Selector.MatchLabels, slotLabel) }, problem: "does not name its colour"},
		{mistake: "the wrong name for a colour", overlay: "blue-green", make: func(o Objects) { deployment(o, "orders-blue").Name = "orders-red" }, problem: "Deployment orders-red: its colour is blue"},
		{mistake: "a colour that does not know itself", overlay: "blue-green", make: func(o Objects) { containerOf(o, "orders-blue").Env = nil }, problem: "is not told its colour"},
		{mistake: "a file that never changes", overlay: "blue-green", make: func(o Objects) {
			mounts := containerOf(o, "orders-blue").VolumeMounts
			for i := range mounts {
				if mounts[i].Name == "slot" {
					mounts[i].SubPath = "active"
				}
			}
		}, problem: "subPath never changes"},
		{mistake: "a file that is not there", overlay: "blue-green", make: func(o Objects) { containerOf(o, "orders-blue").VolumeMounts = nil }, problem: "nothing is mounted where"},
		{mistake: "a switch that an apply would undo", overlay: "blue-green", make: func(o Objects) { delete(service(o, "orders").Labels, switchLabel) }, problem: "is not labelled holdfast.dev/switch"},
	},
}
