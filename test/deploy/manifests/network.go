package manifests

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// flow is one way from a pod to a port of another.
type flow struct{ from, to, port string }

// The flows between pods of the platform. Every other must be refused.
var flows = []flow{
	{"smoke", "orders", "http"},
	{"smoke", "orders", "grpc"},
	{"smoke", "payments", "http"},
	{"smoke", "payments", "grpc"},
	{"smoke", "llm-gateway", "http"},
	{"smoke", "llm-gateway", "grpc"},
	{"orders", "payments", "grpc"},
	{"orders", "llm-gateway", "grpc"},
	{"orders", "postgres", "postgres"},
	{"payments", "postgres", "postgres"},
	{"llm-gateway", "postgres", "postgres"},
	{"llm-gateway-migrate", "postgres", "postgres"},
	{"orders-migrate", "postgres", "postgres"},
	{"payments-migrate", "postgres", "postgres"},
	{"payments", "sandbox", "http"},
	{"llm-gateway", "sandbox", "http"},
}

// smoke is a pod that no manifest has: deploy/blue-green makes one.
var smoke = labels.Set{nameLabel: "smoke", "app.kubernetes.io/part-of": "holdfast"}

// findBadFlows follows the policies, where there are any, from each kind of pod
// to each port of each other.
func findBadFlows(objects Objects) []string {
	policies := all[*networkingv1.NetworkPolicy](objects)
	if len(policies) == 0 {
		return nil
	}
	var found problems
	pods := map[string]labels.Set{"smoke": smoke, "a stranger": {}}
	ports := map[string][]corev1.ContainerPort{}
	for _, w := range workloads(objects) {
		name := w.template.Labels[nameLabel]
		pods[name] = w.template.Labels
		ports[name] = w.container().Ports
	}
	for from, source := range pods {
		for to, target := range pods {
			for _, port := range ports[to] {
				f := flow{from, to, port.Name}
				passes := allowed(policies, source, target, port)
				wanted := slices.Contains(flows, f)
				found.check(passes || !wanted, "%s cannot reach %s of %s", from, port.Name, to)
				found.check(!passes || wanted, "%s can reach %s of %s", from, port.Name, to)
			}
		}
		found = append(found, findBorderFlows(policies, from, source, ports[from])...)
		found = append(found, findOutsideFlows(policies, from, source)...)
	}
	return found
}

// Namespaces, by the labels that policies tell them by.
var (
	home          = namespaceNamed(Namespace)
	system        = namespaceNamed("kube-system")
	observability = namespaceNamed("observability")
	elsewhere     = namespaceNamed("elsewhere")
	ingress       = labels.Merge(namespaceNamed("ingress"), labels.Set{"holdfast.dev/ingress": "true"})
)

func namespaceNamed(name string) labels.Set { return labels.Set{corev1.LabelMetadataName: name} }

// findBorderFlows follows the policies between one kind of pod and other
// namespaces.
func findBorderFlows(policies []*networkingv1.NetworkPolicy, name string, pod labels.Set, ports []corev1.ContainerPort) []string {
	var found problems
	dns := corev1.ContainerPort{ContainerPort: 53, Protocol: corev1.ProtocolUDP}
	found.check(leaves(policies, pod, labels.Set{"k8s-app": "kube-dns"}, system, dns), "%s cannot ask DNS", name)
	other := corev1.ContainerPort{Name: "other", ContainerPort: 1234}
	found.check(!leaves(policies, pod, nil, elsewhere, other), "%s can reach anything anywhere", name)
	published := slices.Contains([]string{"llm-gateway", "orders", "payments"}, name)
	for _, port := range append(ports, other) {
		found.check(!enters(policies, pod, nil, elsewhere, port), "anything can reach %s of %s", port.Name, name)
		public := published && (port.Name == "http" || port.Name == "grpc")
		found.check(enters(policies, pod, nil, ingress, port) == public, "users and %s of %s: open is %v", port.Name, name, !public)
		scraped := published && port.Name == "probe"
		found.check(enters(policies, pod, nil, observability, port) == scraped, "Prometheus and %s of %s: open is %v", port.Name, name, !scraped)
	}
	return found
}

func allowed(policies []*networkingv1.NetworkPolicy, from, to labels.Set, port corev1.ContainerPort) bool {
	return leaves(policies, from, to, home, port) && enters(policies, to, from, home, port)
}

// leaves reports whether pods with the labels from may send to a peer.
func leaves(policies []*networkingv1.NetworkPolicy, from, peer, namespace labels.Set, port corev1.ContainerPort) bool {
	isolated := false
	for _, p := range policies {
		if !matches(&p.Spec.PodSelector, from) || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			continue
		}
		isolated = true
		for _, rule := range p.Spec.Egress {
			if portIn(rule.Ports, port) && peerIn(rule.To, peer, namespace) {
				return true
			}
		}
	}
	return !isolated
}

// enters reports whether pods with the labels to may hear from a peer.
func enters(policies []*networkingv1.NetworkPolicy, to, peer, namespace labels.Set, port corev1.ContainerPort) bool {
	isolated := false
	for _, p := range policies {
		if !matches(&p.Spec.PodSelector, to) || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
			continue
		}
		isolated = true
		for _, rule := range p.Spec.Ingress {
			if portIn(rule.Ports, port) && peerIn(rule.From, peer, namespace) {
				return true
			}
		}
	}
	return !isolated
}

func peerIn(peers []networkingv1.NetworkPolicyPeer, pod, namespace labels.Set) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return false // of the world outside, not of pods
		}
		inside := namespace[corev1.LabelMetadataName] == Namespace
		if p.NamespaceSelector != nil {
			inside = matches(p.NamespaceSelector, namespace)
		}
		return inside && (p.PodSelector == nil || matches(p.PodSelector, pod))
	})
}

func portIn(ports []networkingv1.NetworkPolicyPort, wanted corev1.ContainerPort) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		if valueOr(p.Protocol, corev1.ProtocolTCP) != cmp.Or(wanted.Protocol, corev1.ProtocolTCP) {
			return false
		}
		return p.Port == nil || *p.Port == intstr.FromInt32(wanted.ContainerPort) || *p.Port == intstr.FromString(wanted.Name)
	})
}

func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		panic(fmt.Sprintf("a selector that the API server would refuse: %v", err)) // it was decoded from our own files
	}
	return s.Matches(set)
}
