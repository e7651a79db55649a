package llm

import (
	"strconv"
	"strings"
)

// directives are those of one message.
type directives struct {
	tokens int64
	say    *string
	calls  []asked
	refuse bool
	faults []string
}

// asked is a call that a directive asks for.
type asked struct{ name, arguments string }

// maxAnswer bounds what a directive can ask for.
const maxAnswer = 200_000

// readDirectives finds the directives of a text. What is none is left alone:
// it is somebody's prompt.
func readDirectives(text string) directives {
	var d directives
	for {
		_, after, found := strings.Cut(text, "[[")
		if !found {
			return d
		}
		body, rest, closed := strings.Cut(after, "]]")
		if !closed {
			return d
		}
		text = rest
		name, argument, _ := strings.Cut(body, " ")
		switch name {
		case "tokens":
			if n, err := strconv.ParseInt(strings.TrimSpace(argument), 10, 64); err == nil && n > 0 {
				d.tokens = min(n, maxAnswer)
			}
		case "say":
			d.say = &argument
		case "call":
			tool, arguments, _ := strings.Cut(strings.TrimSpace(argument), " ")
			d.calls = append(d.calls, asked{tool, strings.TrimSpace(arguments)})
		case "refuse":
			d.refuse = true
		case "fault":
			d.faults = append(d.faults, argument)
		}
	}
}
