//go:build faults

package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/test/trap"
)

// development is what a build for development can do to a service that it
// serves: have it die or stall at a named step, and take a safeguard of its
// idempotency away.
type development struct {
	dieAt, stallAt string
	stallFor       time.Duration
	without        string
}

func (d *development) flags(flags *pflag.FlagSet) {
	flags.StringVar(&d.dieAt, "die-at", "", "die at a step, such as second-commit:before:3")
	flags.StringVar(&d.stallAt, "stall-at", "", "hold every Nth request up at a step")
	flags.DurationVar(&d.stallFor, "stall-for", time.Second, "for how long")
	flags.StringVar(&d.without, "without", "", "go without a safeguard: epoch, seal or reservation")
}

func (d *development) options(name string) ([]service.Option, error) {
	parts, err := d.traps(name)
	if err != nil {
		return nil, err
	}
	switch d.without {
	case "":
	case "epoch":
		parts = append(parts, withoutSafeguard(idempotency.Epoch))
	case "seal":
		parts = append(parts, withoutSafeguard(idempotency.Seal))
	case "reservation":
		parts = append(parts, fx.Decorate(func(l *ledger.Ledger) *ledger.Ledger { return l.Without(ledger.Reservation) }))
	default:
		return nil, fmt.Errorf("there is no safeguard %q: there are epoch, seal and reservation", d.without)
	}
	return []service.Option{service.WithGraph(parts...)}, nil
}

func withoutSafeguard(g idempotency.Safeguard) fx.Option {
	return fx.Decorate(func(s *idempotency.Store) *idempotency.Store { return s.Without(g) })
}

// traps are set in a replica of orders or payments.
func (d *development) traps(name string) (parts []fx.Option, err error) {
	for _, asked := range []struct {
		at  string
		set func(trap.Point) *trap.Trap
	}{
		{d.dieAt, trap.Die},
		{d.stallAt, func(p trap.Point) *trap.Trap { return trap.Stall(p, d.stallFor) }},
	} {
		if asked.at == "" {
			continue
		}
		point, err := trap.Parse(asked.at)
		if err != nil {
			return nil, err
		}
		switch name {
		case local.Orders:
			parts = append(parts, asked.set(point).InOrders())
		case local.Payments:
			parts = append(parts, asked.set(point).InPayments())
		default:
			return nil, fmt.Errorf("no trap can be set in %s", name)
		}
	}
	return parts, nil
}
