package llm

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/holdfast-dev/holdfast/pkg/service"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
)

// replicaVariable turns this test binary into a gateway: a real process, which can be
// killed, without building anything else.
const replicaVariable = "HOLDFAST_TEST_LLM_REPLICA"

// providerKeys are the keys of the sandbox's providers, as files of routes name them.
// They are set once, so that tests can run side by side.
var providerKeys = map[string]string{"SANDBOX_KEY": "sandbox-key", "SANDBOX_KEY_B": "sandbox-key-b"}

// sideBySide is how many tests run at once at least: they wait, for leases and for
// providers that stall, more than they work.
const sideBySide = 4

func TestMain(m *testing.M) {
	for name, value := range providerKeys {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(replicaVariable) == "" {
		flag.Parse()
		if err := flag.Set("test.parallel", strconv.Itoa(max(sideBySide, runtime.GOMAXPROCS(0)))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if err := service.Run(context.Background(), llmgateway.Definition, os.Args[1:], os.Stdout); err != nil { // the process, until it is killed
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
