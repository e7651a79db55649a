//go:build !faults

package integration

import "github.com/holdfast-dev/holdfast/pkg/service"

// withoutKeys is nothing in a build that keeps its keys.
func withoutKeys() []service.Option { return nil }
