//go:build unix

package embedded

import (
	"context"
	"os"

	"github.com/holdfast-dev/holdfast/pkg/postgres/internal/watchdog"
)

// cleanUp stops the server of folder $1 and removes the folder. A server that
// had no time to write its pid stops by itself: it misses its data directory.
const cleanUp = `
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	i=0
	while [ $i -lt 200 ] && [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.05; i=$((i + 1)); done
fi
rm -rf "$1"
`

func (s *Server) startEphemeral(ctx context.Context) error {
	root, err := os.MkdirTemp("", "holdfast-postgres-")
	if err != nil {
		return unusable(os.TempDir(), err)
	}
	s.files = filesIn(root)
	if err := s.account.own(root); err != nil {
		_ = os.RemoveAll(root)
		return unusable(root, err)
	}
	dog, err := watchdog.Start(ctx, s.account.credential(), cleanUp, root)
	if err != nil {
		_ = os.RemoveAll(root)
		return err
	}
	s.cleanup = dog.Fire
	if !s.copySeed(ctx) {
		if err := s.initialise(ctx); err != nil {
			_ = s.cleanup()
			return err
		}
		s.leaveSeed(ctx)
	}
	if err := s.launch(ctx); err != nil {
		_ = s.cleanup()
		return err
	}
	return nil
}

func (s *Server) stopEphemeral(ctx context.Context) error {
	// Nobody will read this data again: no checkpoint.
	if err := s.halt(ctx, immediate); err != nil {
		return err
	}
	if s.cleanup == nil {
		return nil
	}
	cleanup := s.cleanup
	s.cleanup = nil
	return cleanup()
}
