package service

// roundRobin gives every address of a name its turn.
const roundRobin = `{"round_robin": {}}`

// serviceConfig is how connections to other services are made: calls are spread
// over the addresses of a name by a policy, and those addresses are left out that
// say they are draining. It watches "", never a dependency of theirs.
func serviceConfig(policy string) string {
	return `{"loadBalancingConfig": [` + policy + `], "healthCheckConfig": {"serviceName": ""}}`
}
