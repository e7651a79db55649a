package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// working is a worker that says whether it works.
type working struct{ now, starts atomic.Int64 }

func (w *working) worker() Worker {
	return Worker{Name: "claims", Run: func(ctx context.Context) error {
		w.starts.Add(1)
		w.now.Add(1)
		defer w.now.Add(-1)
		<-ctx.Done()
		return nil
	}}
}

func TestOnlyTheActiveSlotWorks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "active")
	switchTo := func(name string) { require.NoError(t, os.WriteFile(file, []byte(name+"\n"), 0o600)) }
	start := func(name string) *working {
		var w working
		force := &workforce{log: discard, workers: slot{name: name, file: file, log: discard, every: time.Millisecond}.gate([]Worker{w.worker()})}
		force.start(t.Context())
		t.Cleanup(func() { require.NoError(t, force.stop()(context.Background())) }) // the test's context has ended by then
		return &w
	}
	blue, green := start("blue"), start("green")
	never := func() bool { return blue.now.Load()+green.now.Load() > 0 }
	require.Never(t, never, 30*time.Millisecond, 5*time.Millisecond, "nobody works before it is known who should")

	switchTo("blue")
	eventually(t, func() bool { return blue.now.Load() == 1 }, "blue works")
	require.Zero(t, green.starts.Load())

	switchTo("green")
	eventually(t, func() bool { return blue.now.Load() == 0 && green.now.Load() == 1 }, "green works, and blue has stopped")

	require.NoError(t, os.Remove(file))
	require.Never(t, func() bool { return green.now.Load() == 0 }, 30*time.Millisecond, 5*time.Millisecond, "a file that is gone changes nothing")

	switchTo("blue")
	eventually(t, func() bool { return blue.now.Load() == 1 && green.now.Load() == 0 }, "and back")
}

func TestWithoutASlotWorkersAlwaysWork(t *testing.T) {
	var w working
	force := &workforce{log: discard, workers: slot{log: discard}.gate([]Worker{w.worker()})}
	force.start(t.Context())
	eventually(t, func() bool { return w.now.Load() == 1 }, "it works")
	require.NoError(t, force.stop()(t.Context()))
}

func TestAnErrorOfAWorkerInASlotIsNotLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "active")
	require.NoError(t, os.WriteFile(file, []byte("blue"), 0o600))
	broken := errors.New("broken")
	gated := slot{name: "blue", file: file, log: discard, every: time.Millisecond}.gate([]Worker{{Run: func(context.Context) error { return broken }}})
	require.ErrorIs(t, gated[0].Run(t.Context()), broken)
}

func TestASlotAndItsFileGoTogether(t *testing.T) {
	cfg := Config{Slot: "blue"}
	require.ErrorContains(t, cfg.Validate(), "HOLDFAST_ACTIVE_SLOT_FILE")
}
