package manifests

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// https is the only port of the world outside that anybody may reach.
var https = corev1.ContainerPort{Name: "https", ContainerPort: 443}

// The world outside, by addresses that documentation is written with (RFC 5737,
// RFC 3849), and what is near without being a pod: private networks, and the
// metadata of a cloud's machine, which gives its credentials to who asks.
var (
	outside = []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")}
	near    = []netip.Addr{
		netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("172.20.1.2"), netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("100.64.1.2"),
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fe80::1"),
	}
)

// findOutsideFlows follows the policies from one kind of pod to addresses. Model
// providers are outside, and who asks them has their addresses from a file that
// people write: it must not be a way to what is near.
func findOutsideFlows(policies []*networkingv1.NetworkPolicy, name string, pod labels.Set) []string {
	var found problems
	for _, address := range outside {
		passes, wanted := goesOut(policies, pod, address, https), name == "llm-gateway"
		found.check(passes || !wanted, "%s cannot reach %s by HTTPS", name, address)
		found.check(!passes || wanted, "%s can reach %s by HTTPS", name, address)
		for _, port := range []int32{22, 80, 8443} {
			found.check(!goesOut(policies, pod, address, corev1.ContainerPort{ContainerPort: port}), "%s can reach port %d of %s", name, port, address)
		}
	}
	for _, address := range near {
		for _, port := range []int32{80, 443} {
			found.check(!goesOut(policies, pod, address, corev1.ContainerPort{ContainerPort: port}), "%s can reach port %d of %s, which is near", name, port, address)
		}
	}
	return found
}

// goesOut reports whether pods with these labels may send to an address that is no
// pod's.
func goesOut(policies []*networkingv1.NetworkPolicy, from labels.Set, to netip.Addr, port corev1.ContainerPort) bool {
	isolated := false
	for _, p := range policies {
		if !matches(&p.Spec.PodSelector, from) || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			continue
		}
		isolated = true
		for _, rule := range p.Spec.Egress {
			if portIn(rule.Ports, port) && addressIn(rule.To, to) {
				return true
			}
		}
	}
	return !isolated
}

func addressIn(peers []networkingv1.NetworkPolicyPeer, address netip.Addr) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		return p.IPBlock != nil && within(p.IPBlock.CIDR, address) &&
			!slices.ContainsFunc(p.IPBlock.Except, func(except string) bool { return within(except, address) })
	})
}

// within reports whether a range has an address. One that is no range has none,
// and the API server refuses it.
func within(cidr string, address netip.Addr) bool {
	prefix, err := netip.ParsePrefix(cidr)
	return err == nil && prefix.Contains(address)
}
