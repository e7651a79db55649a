package manifests

import (
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	psaapi "k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
)

// adminPort is what drains, profiles and injects faults without asking who you
// are.
const adminPort = 8082

// findInsecurePods asks the admission plugin of Kubernetes itself, and that the
// namespace has it switched on.
func findInsecurePods(objects Objects) []string {
	var found problems
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		return []string{err.Error()}
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for _, w := range workloads(objects) {
		results := evaluator.EvaluatePod(restricted, &w.template.ObjectMeta, &w.template.Spec)
		if verdict := psa.AggregateCheckResults(results); !verdict.Allowed {
			found.add("%s: %s: %s", w.name, verdict.ForbiddenReason(), verdict.ForbiddenDetail())
		}
		for _, c := range slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers) {
			readOnly := c.SecurityContext != nil && valueOr(c.SecurityContext.ReadOnlyRootFilesystem, false)
			found.check(readOnly, "%s: container %s may write to its root", w.name, c.Name)
		}
	}
	namespace := named[*corev1.Namespace](objects, Namespace)
	found.check(namespace != nil && namespace.Labels[psaapi.EnforceLevelLabel] == string(psaapi.LevelRestricted),
		"the namespace does not enforce the restricted profile")
	return found
}

func findTokens(objects Objects) []string {
	var found problems
	for _, w := range workloads(objects) {
		found.check(!valueOr(w.template.Spec.AutomountServiceAccountToken, true),
			"%s: automountServiceAccountToken is not false", w.name)
	}
	return found
}

// findSpelledSecrets looks for values of secret settings outside of Secrets. In
// an overlay that plays no outside world, which is production, there must be no
// Secret either.
func findSpelledSecrets(objects Objects) []string {
	var found problems
	production := true
	for _, w := range workloads(objects) {
		if w.service() == "sandbox" {
			production = false
		}
		if w.service() == "" {
			continue
		}
		known, err := variablesOf(w.service())
		if err != nil {
			return []string{err.Error()}
		}
		for name, value := range environment(objects, w.container()) {
			found.check(!known[name].secret || value == "", "%s: the value of %s is in the manifests", w.name, name)
		}
	}
	if !production {
		return found
	}
	for _, secret := range all[*corev1.Secret](objects) {
		found.add("Secret %s is in the manifests of production", secret.Name)
	}
	for _, w := range servers(objects) {
		s, err := w.settings(objects)
		if err != nil {
			return []string{err.Error()}
		}
		found.check(s.value("HOLDFAST_ENV") == "production", "%s: HOLDFAST_ENV is %q with nothing for development around it", w.name, s.value("HOLDFAST_ENV"))
		found.check(s.value("HOLDFAST_API_KEYS_FILE") != "", "%s: no key file, so nobody could call", w.name)
	}
	return found
}

// findExposedAdmin wants every port of a Service to lead to a named port that
// the pods behind it have, and none to the admin port.
func findExposedAdmin(objects Objects) []string {
	var found problems
	for _, w := range workloads(objects) {
		for _, c := range w.template.Spec.Containers {
			for _, port := range c.Ports {
				found.check(port.ContainerPort != adminPort, "%s: container %s declares the admin port", w.name, c.Name)
			}
		}
		if address := environment(objects, w.container())["HOLDFAST_ADMIN_ADDR"]; address != "" {
			host, _, _ := net.SplitHostPort(address)
			ip := net.ParseIP(host)
			found.check(ip != nil && ip.IsLoopback(), "%s: the admin port listens on %s", w.name, address)
		}
	}
	for _, service := range all[*corev1.Service](objects) {
		for _, port := range service.Spec.Ports {
			if port.TargetPort.Type != intstr.String {
				found.add("Service %s: port %d leads to a number, %s; name it", service.Name, port.Port, port.TargetPort.String())
				continue
			}
			for _, w := range behind(objects, service) {
				found.check(w.hasPort(port.TargetPort.StrVal), "Service %s: %s has no port %s", service.Name, w.name, port.TargetPort.StrVal)
			}
		}
		found.check(len(behind(objects, service)) > 0, "Service %s: nothing is behind it", service.Name)
	}
	return found
}

func (w workload) hasPort(name string) bool {
	return slices.ContainsFunc(w.template.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name })
	})
}

// behind are the workloads whose pods a Service selects.
func behind(objects Objects, service *corev1.Service) []workload {
	var found []workload
	for _, w := range workloads(objects) {
		if len(service.Spec.Selector) > 0 && contains(w.template.Labels, service.Spec.Selector) {
			found = append(found, w)
		}
	}
	return found
}

// contains reports whether labels have every pair of wanted.
func contains(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}
