package local

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/pkg/auth"
)

// The services, by the name that `holdfast serve` takes.
const (
	Sandbox    = "sandbox"
	Payments   = "payments"
	LLMGateway = "llm-gateway"
	Orders     = "orders"
)

// StartOrder is the order in which services start: each after what it calls.
// They stop in the opposite order.
var StartOrder = []string{Sandbox, Payments, LLMGateway, Orders}

// Databases are the services that have a database; see [DatabaseName].
var Databases = []string{Payments, LLMGateway, Orders}

// Shop are those of them that take orders and money for them.
var Shop = []string{Payments, Orders}

// DatabaseName is the name of a service's database: its own, as SQL likes it.
func DatabaseName(service string) string { return strings.ReplaceAll(service, "-", "_") }

// Addresses are where one process listens.
type Addresses struct {
	GRPC, HTTP, Probe, Admin string
}

// ReadyURL is the readiness probe.
func (a Addresses) ReadyURL() string { return "http://" + a.Probe + "/readyz" }

// Environment is what the processes of one platform are told in common.
type Environment struct {
	// DatabaseURL gives the URL of a database; nil if none is used.
	DatabaseURL func(database string) string
	// DerivationSecrets are what derived keys and ids are made with. They must
	// stay the same as long as the data does.
	DerivationSecrets string
	// SandboxURL is where the sandbox answers.
	SandboxURL string
	// SandboxDir is where the sandbox keeps its ledger.
	SandboxDir string
	// PaymentsTarget is the gRPC target of the payments service.
	PaymentsTarget string
	// LLMTarget is that of the LLM gateway; empty if there is none.
	LLMTarget string
	// Extra variables win over all others.
	Extra map[string]string
}

// For returns the whole environment of one process: this process's own, and
// over it what the platform decides.
func (e Environment) For(service string, at Addresses) []string {
	variables := map[string]string{
		"HOLDFAST_ENV":                "development",
		"HOLDFAST_GRPC_ADDR":          at.GRPC,
		"HOLDFAST_HTTP_ADDR":          at.HTTP,
		"HOLDFAST_PROBE_ADDR":         at.Probe,
		"HOLDFAST_ADMIN_ADDR":         at.Admin,
		"HOLDFAST_SERVICE_TOKEN":      auth.DevelopmentServiceKey,
		"HOLDFAST_DERIVATION_SECRETS": e.DerivationSecrets,
		"HOLDFAST_SANDBOX_URL":        e.SandboxURL,
		"HOLDFAST_SANDBOX_DATA_DIR":   e.SandboxDir,
		"HOLDFAST_PAYMENTS_TARGET":    e.PaymentsTarget,
		"HOLDFAST_LLM_TARGET":         e.LLMTarget,
	}
	if slices.Contains(Databases, service) {
		variables["HOLDFAST_DATABASE_URL"] = e.DatabaseURL(DatabaseName(service))
	}
	maps.Copy(variables, e.Extra)
	environment := os.Environ()
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		environment = append(environment, name+"="+variables[name]) // the last one wins
	}
	return environment
}

// Migrate brings the database of one service to the schema that this version
// needs, in a process of its own, and waits for it.
func Migrate(service string, environment []string) error {
	var output strings.Builder
	process, err := Start(Command{Name: "migrate " + service, Args: []string{"migrate", service}, Env: environment, Output: &output})
	if err != nil {
		return err
	}
	if process.Err() != nil {
		return fmt.Errorf("migrate the database of %s: %s", service, WhyItEnded(output.String()))
	}
	return nil
}
