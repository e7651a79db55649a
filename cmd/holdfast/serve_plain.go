//go:build !faults

package main

import (
	"github.com/spf13/pflag"

	"github.com/holdfast-dev/holdfast/pkg/service"
)

// development is what a build for development can do to a service that it
// serves: here, nothing.
type development struct{}

func (*development) flags(*pflag.FlagSet) {}

func (*development) options(string) ([]service.Option, error) { return nil, nil }
