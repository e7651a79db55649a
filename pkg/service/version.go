package service

import (
	"cmp"
	"runtime/debug"

	"google.golang.org/grpc/metadata"
)

// Version and Commit say what was built. The linker sets them
// (-ldflags "-X …/pkg/service.Version=v1.2.3"); a plain `go build` leaves what
// the toolchain knows.
var (
	Version string
	Commit  string
)

func init() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	Version = cmp.Or(Version, info.Main.Version, "(devel)")
	Commit = cmp.Or(Commit, revision[:min(12, len(revision))], "unknown")
	versionTrailer = metadata.Pairs(VersionTrailer, Version)
}
