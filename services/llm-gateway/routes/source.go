package routes

import (
	"log/slog"
	"slices"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
)

// Source has the current table and follows the file. A request takes
// Current once and keeps to it to its end.
type Source = document.Source[*Table]

// Open reads the file and returns its source; Watch follows it, with the files
// that keys come from. Checks are what a table must pass besides, such as that
// there is a price for every target: one that fails keeps the old table too.
// What a table leaves out is logged when it is other things than before.
func Open(file string, env func(string) string, log *slog.Logger, checks ...func(*Table) error) (*Source, error) {
	var told []Dropped
	load := func(name string, data []byte) (*Table, []string, error) {
		table, err := parse(name, data, env, readSecretFile)
		for i := 0; err == nil && i < len(checks); i++ {
			err = checks[i](table)
		}
		if err == nil && !slices.Equal(table.Dropped, told) {
			told = table.Dropped
			for _, d := range told {
				log.Warn("not in force", "file", name, "line", d.Line, "what", d.What, "why", d.Why)
			}
		}
		return table, table.secrets, err
	}
	return document.Open(file, load, log)
}

// Unpriced returns a *[Mistake] for each target that nobody knows a price for;
// nil if there is none. It is a check for [Open].
func (t *Table) Unpriced(known func(provider, model string) bool) error {
	doc := document.New(t.file)
	for _, route := range t.Routes {
		for _, link := range route.Chain {
			if !known(link.Provider.Name, link.Model) {
				doc.Mistakef(link.Line, "route %s: there is no price for model %s of provider %s", quote(route.Name), quote(link.Model), quote(link.Provider.Name))
			}
		}
	}
	return doc.Err()
}
