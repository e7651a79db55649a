package price

import (
	"log/slog"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// Source has the current prices and follows their file.
type Source = document.Source[*Table]

// Open reads the file and returns its source.
func Open(file string, log *slog.Logger) (*Source, error) {
	return document.Open(file, func(name string, data []byte) (*Table, []string, error) {
		table, err := Parse(name, data)
		return table, nil, err
	}, log)
}
