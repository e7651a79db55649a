package ledger_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain requires that reconcilers end with their tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
