package orders

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain sees that no test leaves a goroutine behind: a watch has some, on both
// sides, and each has an owner.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
