package idempotency_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain requires that completers, workers and servers end with their tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
