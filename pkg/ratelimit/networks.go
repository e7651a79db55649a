package ratelimit

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Networks is a list of networks.
type Networks []netip.Prefix

// NetworkError is an entry of a list that is not a network.
type NetworkError struct {
	// Entry is the entry as it was given.
	Entry string
	// Problem says what is wrong with it.
	Problem string
}

// Error has the entry and what is wrong with it.
func (e *NetworkError) Error() string { return fmt.Sprintf("%q %s", e.Entry, e.Problem) }

// ParseNetworks reads networks in CIDR notation (RFC 4632, RFC 4291), with
// commas between them. Its error joins one [NetworkError] for each entry that is
// none.
func ParseNetworks(list string) (Networks, error) {
	networks, problems := parseNetworks(list)
	return networks, errors.Join(problems...)
}

// parseNetworks returns the entries that are networks, and an error for each of
// the others.
func parseNetworks(list string) (networks Networks, problems []error) {
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		network, err := netip.ParsePrefix(entry)
		switch {
		case err != nil:
			problems = append(problems, &NetworkError{entry, "is not a network: write 10.0.0.0/8, or 10.1.2.3/32 for one address"})
		case network.Addr().Is4In6():
			problems = append(problems, &NetworkError{entry, "is an IPv4 network written as IPv6: write it as IPv4"})
		case network != network.Masked():
			problems = append(problems, &NetworkError{entry, "has more bits than its length says: did you mean " + network.Masked().String() + "?"})
		default:
			networks = append(networks, network)
		}
	}
	return networks, problems
}

// Contain reports whether the address is in one of the networks.
func (n Networks) Contain(address netip.Addr) bool {
	for _, network := range n {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// String writes the networks as ParseNetworks reads them.
func (n Networks) String() string {
	texts := make([]string, len(n))
	for i, network := range n {
		texts[i] = network.String()
	}
	return strings.Join(texts, ",")
}
