// Command holdfast runs the platform on one machine, and proves it: it starts
// everything (up), runs single services (serve, migrate), breaks things on
// purpose (drill), and answers questions (config, version).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command and returns its exit code. Whatever is wrong is one line
// on stderr that says what, and how to mend it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr) //nolint:contextcheck // commands get it from ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errRed):
		return 1 // the verdict has said why
	default:
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(stderr, "holdfast: "+strings.TrimSpace(line))
		}
		return 1
	}
}
