package config

import (
	"fmt"
	"os"
)

// FileVersion returns a text that changes when the file at path does, or comes,
// or goes; it says whether reading it again is worth the while. Kubernetes swaps a
// link to mount a new version of a Secret or a ConfigMap, and the link is followed.
// With an error the version is that of no file.
//
// Take it before the content: a change in between is then seen next time.
func FileVersion(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "gone", err
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size()), nil
}
