package local

import (
	"encoding/json"
	"io"
	"os"
	"strings"
)

// WhyItEnded is what the end of a process's log says, on one line: what the
// command printed as errors, all of them, or else its last words.
func WhyItEnded(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	var errors []string
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "holdfast: "); ok {
			errors = append(errors, text)
		}
	}
	if len(errors) > 0 {
		return strings.Join(errors, "; ")
	}
	return brief(strings.TrimSpace(lines[len(lines)-1]))
}

// WhyItEndedIn is [WhyItEnded] of what was written to a file after offset.
func WhyItEndedIn(path string, offset int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return ""
	}
	return WhyItEnded(string(text))
}

// brief shortens a line of JSON log to what a person wants of it in an error
// message; other lines stay.
func brief(line string) string {
	var entry struct {
		Message string `json:"msg"`
		Error   string `json:"error"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil || entry.Message == "" {
		return line
	}
	if entry.Error == "" {
		return entry.Message
	}
	return entry.Message + ": " + entry.Error
}
