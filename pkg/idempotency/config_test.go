package idempotency_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func TestAllWrongSettingsAreReportedAtOnce(t *testing.T) {
	require.NoError(t, idempotency.DefaultConfig().Validate())
	err := idempotency.Config{Retention: time.Second, Skew: -1, Wait: -1, Reserve: time.Hour}.Validate()
	for _, name := range []string{"RETENTION", "SKEW", "WAIT", "RESERVE", "LEASE"} {
		require.ErrorContains(t, err, "HOLDFAST_IDEMPOTENCY_"+name)
	}
}
