package sandbox

// Version and Commit say what was built. The linker sets them, as it does those
// of package service, which the sandbox has no other use for.
var (
	Version = "(devel)"
	Commit  = "unknown"
)
