package wire

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
)

// Changes is what the gateway may change of a request. All other bytes stay.
type Changes struct {
	// Model is the name to ask the provider for; empty: as the client said.
	Model string
	// MaxTokens is the most that a choice may have; 0: as the client said. A limit
	// above it is lowered in place, one below it stays, and where there is none it is
	// added.
	MaxTokens int64
	// MaxTokensField is the member by which this provider is told, max_tokens or
	// max_completion_tokens; empty: max_completion_tokens with OpenAI's protocol. It
	// names the member to be added. A provider that reads max_tokens may not know the
	// newer name, so there max_tokens is added beside it: without it, nothing would
	// limit the answer.
	MaxTokensField string
	// AskUsage asks for the usage at the end of a stream, which OpenAI's protocol
	// leaves out by itself. Anthropic's always has it.
	AskUsage bool
}

// edit replaces the bytes of a span.
type edit struct {
	span
	text string
}

// Rewrite appends the body, with the changes, to dst.
func (r Request) Rewrite(dst []byte, c Changes) []byte {
	var room [6]edit
	edits := room[:0]

	// What is added goes behind the model, which is always there.
	added := ""
	behind := span{r.model.to, r.model.to}
	if c.Model != "" && c.Model != r.Model {
		added, behind = quote(c.Model), r.model
	}
	if c.MaxTokens > 0 {
		edits = r.lower(edits, c.MaxTokens)
		if field, missing := r.limitToAdd(c.MaxTokensField); missing {
			n := c.MaxTokens
			if r.MaxTokens > 0 {
				n = min(n, r.MaxTokens)
			}
			value := strconv.FormatInt(n, 10)
			if null := r.limit(field); null.there() {
				edits = append(edits, edit{null.span, value})
			} else {
				added += `,"` + field + `":` + value
			}
		}
	}
	if c.AskUsage && r.Protocol == OpenAI && !r.IncludeUsage {
		const yes = `"include_usage":true`
		switch {
		case r.includeUsage.there():
			edits = append(edits, edit{r.includeUsage, "true"})
		case !r.options.there():
			added += `,"stream_options":{` + yes + `}`
		case r.Body[r.options.from] == 'n': // null
			edits = append(edits, edit{r.options, "{" + yes + "}"})
		default:
			inside := span{r.options.from + 1, r.options.from + 1}
			text := yes
			if s := (scanner{data: r.Body, pos: inside.from}); s.peek() != '}' {
				text += ","
			}
			edits = append(edits, edit{inside, text})
		}
	}
	if added != "" {
		edits = append(edits, edit{behind, added})
	}

	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	grow := 0
	for _, e := range edits {
		grow += len(e.text)
	}
	dst = slices.Grow(dst, len(r.Body)+grow)
	done := 0
	for _, e := range edits {
		dst = append(dst, r.Body[done:e.from]...)
		dst = append(dst, e.text...)
		done = e.to
	}
	return append(dst, r.Body[done:]...)
}

// lower adds the edits by which no limit is above most.
func (r Request) lower(edits []edit, most int64) []edit {
	for _, l := range [...]limit{r.maxTokens, r.maxCompletion} {
		if l.value > most {
			edits = append(edits, edit{l.span, strconv.FormatInt(most, 10)})
		}
	}
	return edits
}

// limitToAdd is the member by which a provider is told the limit, and whether the
// body lacks it.
func (r Request) limitToAdd(field string) (name string, missing bool) {
	switch {
	case r.Protocol == Anthropic:
		field = names[memberMaxTokens]
	case field == "":
		field = names[memberMaxCompletionTokens]
	}
	if r.MaxTokens == 0 {
		return field, true
	}
	return field, field == names[memberMaxTokens] && r.maxTokens.value == 0
}

func (r Request) limit(field string) limit {
	if field == names[memberMaxTokens] {
		return r.maxTokens
	}
	return r.maxCompletion
}

// quote is s as JSON.
func quote(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return `""` // not reached: every string can be written
	}
	return string(quoted)
}
