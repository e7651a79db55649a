package llmgateway

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// TestASettlerTriesAgainWhatPassesWithTime, and nothing else: a drain waits for it.
func TestASettlerTriesAgainWhatPassesWithTime(t *testing.T) {
	away := apierror.New(apierror.ReasonDependencyUnavailable, "the database is away")
	for name, row := range map[string]struct {
		err   error
		tries int
	}{
		"written":         {nil, 1},
		"database away":   {away, 2},
		"taken over":      {ledger.ErrFenced, 1},
		"never to happen": {errors.New("a mistake of ours"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSettler(t.Context(), time.Minute, slog.New(slog.DiscardHandler))
			tries := 0
			s.write(t.Context(), &books{ask: &ask{}}, func(context.Context) error {
				tries++
				if tries == 1 {
					return row.err
				}
				return nil
			})
			bounded, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s.close(bounded)
			require.NoError(t, bounded.Err())
			require.Equal(t, row.tries, tries)
		})
	}
}
