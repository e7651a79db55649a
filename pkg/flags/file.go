package flags

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

// Config is where the flags of a process are.
type Config struct {
	// File says how far each rollout is.
	File string `env:"HOLDFAST_FLAGS_FILE" doc:"YAML file with the feature flags; read again when it changes. Without one, those that are built in hold"`
}

// file is the flags built in, and over them those of a file, which is read again
// when it changes. A file that cannot be read keeps what there was: at worst
// what is built in, because a flag must never keep a service from starting.
type file struct {
	path    string
	builtIn map[Flag]Definition
	log     *slog.Logger

	current atomic.Pointer[map[Flag]Definition]
	version string // what the file looked like when it was last read
}

// recheck is how often the file is looked at. Not when a flag is asked for: who
// turns one up, or makes a mistake, sees in the log at once that it arrived.
const recheck = time.Second

func openFile(path string, builtIn map[Flag]Definition, log *slog.Logger) *file {
	f := &file{path: path, builtIn: builtIn, log: log}
	f.current.Store(&builtIn)
	for name, flag := range builtIn {
		if flag.Expired(time.Now()) {
			log.Warn("a feature flag is past its day and should be gone", "flag", name, "owner", flag.Owner, "expires", flag.Expires.Format(time.DateOnly))
		}
	}
	f.reload()
	return f
}

// flags returns what holds now.
func (f *file) flags() map[Flag]Definition { return *f.current.Load() }

// watch reads the file again whenever it changes, until ctx ends.
func (f *file) watch(ctx context.Context) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.reload()
		}
	}
}

// reload reads the file if it is another one than last time.
func (f *file) reload() {
	if f.path == "" {
		return
	}
	version, err := config.FileVersion(f.path)
	if version == f.version {
		return
	}
	f.version = version
	if err == nil {
		err = f.read()
	}
	if err != nil {
		f.log.Error("the file of feature flags cannot be read; what held before holds", "file", f.path, "error", err)
	}
}

func (f *file) read() error {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	read, err := Parse(content)
	if err != nil {
		return err
	}
	next := maps.Clone(f.builtIn)
	shares := []any{"file", f.path}
	for name := range f.builtIn {
		if flag, ok := read[name]; ok {
			next[name] = flag
		}
		shares = append(shares, string(name), next[name].Percentage)
	}
	f.current.Store(&next)
	f.log.Info("read the feature flags", shares...)
	return nil
}
