package manifests

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var networkControls = map[string][]control{
	"only named flows pass": {
		{mistake: "nothing denied", with: "network-policy", make: func(o Objects) { remove(o, networkPolicy(o, "default-deny")) }, problem: "anything can reach other of a stranger"},
		{mistake: "a flow that is missing", with: "network-policy", make: func(o Objects) { networkPolicy(o, "orders").Spec.Egress = nil }, problem: "orders cannot reach grpc of payments"},
		{mistake: "a flow that is closed at the other end", with: "network-policy", make: func(o Objects) { networkPolicy(o, "sandbox").Spec.Ingress = nil }, problem: "payments cannot reach http of sandbox"},
		{mistake: "another port", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "postgres").Spec.Ingress[0].Ports[0].Port.StrVal = "http"
		}, problem: "cannot reach postgres of postgres"},
		{mistake: "a port too many", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "clients").Spec.Egress[0].Ports = nil
			networkPolicy(o, "orders").Spec.Ingress[0].Ports = nil
		}, problem: "smoke can reach probe of orders"},
		{mistake: "a database open to all", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "postgres").Spec.Ingress[0].From = nil
		}, problem: "anything can reach postgres of postgres"},
		{mistake: "a stranger that may go anywhere", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "dns").Spec.Egress = append(networkPolicy(o, "dns").Spec.Egress, networkingv1.NetworkPolicyEgressRule{})
		}, problem: "a stranger can reach anything anywhere"},
		{mistake: "no way in for users", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "orders").Spec.Ingress[0].From = networkPolicy(o, "orders").Spec.Ingress[0].From[:1]
		}, problem: "users and http of orders: open is false"},
		{mistake: "users at the probe port", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "orders").Spec.Ingress[0].Ports = nil
		}, problem: "users and probe of orders: open is true"},
		{mistake: "no names", with: "network-policy", make: func(o Objects) { remove(o, networkPolicy(o, "dns")) }, problem: "cannot ask DNS"},
		{mistake: "metrics that nobody may read", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "observability").Spec.Ingress[0].From[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "metrics"}}
		}, problem: "Prometheus and probe of orders: open is false"},
		{mistake: "no way out to model providers", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "llm-gateway").Spec.Egress = networkPolicy(o, "llm-gateway").Spec.Egress[:2]
		}, problem: "llm-gateway cannot reach 203.0.113.10 by HTTPS"},
		{mistake: "no way out over IPv6", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "llm-gateway").Spec.Egress[2].To = networkPolicy(o, "llm-gateway").Spec.Egress[2].To[:1]
		}, problem: "llm-gateway cannot reach 2001:db8::10 by HTTPS"},
		{mistake: "a way out on every port", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "llm-gateway").Spec.Egress[2].Ports = nil
		}, problem: "llm-gateway can reach port 22 of 203.0.113.10"},
		{mistake: "a way to the machine's metadata", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "llm-gateway").Spec.Egress[2].To[0].IPBlock.Except = []string{"10.0.0.0/8"}
		}, problem: "llm-gateway can reach port 443 of 169.254.169.254"},
		{mistake: "a way out for all", with: "network-policy", make: func(o Objects) {
			networkPolicy(o, "llm-gateway").Spec.PodSelector.MatchLabels = nil
		}, problem: "payments can reach 203.0.113.10 by HTTPS"},
		{mistake: "a selector with a spelling mistake", overlay: "production", make: func(o Objects) {
			networkPolicy(o, "payments").Spec.PodSelector.MatchLabels[nameLabel] = "payment"
		}, problem: "orders cannot reach grpc of payments"},
	},
}

func networkPolicy(o Objects, name string) *networkingv1.NetworkPolicy {
	return named[*networkingv1.NetworkPolicy](o, name)
}
