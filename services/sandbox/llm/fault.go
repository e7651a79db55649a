package llm

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way to fail.
type FaultKind string

// The ways to fail. Before and after are meant from the answer being produced,
// and so billed: the worst kind for a client is the one that charged and then
// says nothing.
const (
	// FaultStatus answers an error with Status, in the provider's shape (Body).
	FaultStatus FaultKind = "status"
	// FaultDelay waits for Delay before the first byte of the answer.
	FaultDelay FaultKind = "delay"
	// FaultFirstToken waits for Delay before the first token: a stream has begun
	// by then.
	FaultFirstToken FaultKind = "first_token"
	// FaultSlow waits for Delay before each chunk of content.
	FaultSlow FaultKind = "slow"
	// FaultStall waits for Delay after Chunks chunks of content, and goes on;
	// with Ping, it pings meanwhile.
	FaultStall FaultKind = "stall"
	// FaultError ends a stream with an event of error after Chunks chunks of
	// content: none, and nothing is billed. What is not streamed fails with Status.
	FaultError FaultKind = "error"
	// FaultCut ends the connection after Bytes bytes of the body, or after Chunks
	// chunks of content.
	FaultCut FaultKind = "cut"
	// FaultDrop ends the connection without an answer: before it was produced, or
	// after.
	FaultDrop FaultKind = "drop"
	// FaultTimeout never answers, for at most Delay: before the answer was
	// produced, or after.
	FaultTimeout FaultKind = "timeout"
	// FaultTrickle writes the body in pieces of Bytes bytes, wherever events end.
	FaultTrickle FaultKind = "trickle"
	// FaultNoUsage leaves the usage out of the answer. It is billed all the same.
	FaultNoUsage FaultKind = "no_usage"
)

// When says on which side of the answer's production a fault strikes.
type When string

// The two sides. Left empty, a fault strikes before.
const (
	Before When = "before"
	After  When = "after"
)

// End is how a connection ends.
type End string

// The ends. Left empty, it is FIN.
const (
	// EndFIN closes the connection before the body is complete.
	EndFIN End = "fin"
	// EndReset resets it.
	EndReset End = "reset"
	// EndClean completes the body as HTTP has it, however little it holds.
	EndClean End = "clean"
)

// Body is what an error's body looks like.
type Body string

// The bodies. Left empty, it is the provider's own.
const (
	// BodyHTML is the page of a proxy in between.
	BodyHTML Body = "html"
	// BodyEmpty is none.
	BodyEmpty Body = "empty"
)

// Fault is one way to fail, with its details.
type Fault struct {
	Kind FaultKind `json:"kind"`
	When When      `json:"when,omitempty"`
	// Delay is how long it takes or lasts.
	Delay Duration `json:"delay,omitempty"`
	// Chunks is how many chunks of content come first.
	Chunks int `json:"chunks,omitempty"`
	// Bytes is how many bytes of the body come first, or at a time.
	Bytes int64 `json:"bytes,omitempty"`
	End   End   `json:"end,omitempty"`
	// Ping is how often a stall pings; 0 is never.
	Ping Duration `json:"ping,omitempty"`

	// Status, Type, Code and Message are the error's; what is left out is what is
	// usual for the status.
	Status  int    `json:"status,omitempty"`
	Type    string `json:"type,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Body    Body   `json:"body,omitempty"`
	// Header are headers of the error, such as Retry-After.
	Header map[string]string `json:"header,omitempty"`
}

// uses says which details each kind takes.
var uses = map[FaultKind][]string{
	FaultStatus:     {"status", "type", "code", "message", "body", "header", "delay"},
	FaultDelay:      {"delay", "when"},
	FaultFirstToken: {"delay"},
	FaultSlow:       {"delay"},
	FaultStall:      {"delay", "chunks", "ping"},
	FaultError:      {"chunks", "status", "type", "code", "message", "delay"},
	FaultCut:        {"bytes", "chunks", "end"},
	FaultDrop:       {"when", "end", "delay"},
	FaultTimeout:    {"when", "delay"},
	FaultTrickle:    {"bytes", "delay"},
	FaultNoUsage:    {},
}

// maxDelay bounds every wait.
const maxDelay = Duration(time.Hour)

// normal fills in what was left out and refuses what makes no sense.
func (f Fault) normal() (Fault, error) {
	takes, known := uses[f.Kind]
	if !known {
		return f, fmt.Errorf("unknown fault %q", f.Kind)
	}
	for _, detail := range []struct {
		name string
		set  bool
	}{
		{"when", f.When != ""},
		{"delay", f.Delay != 0},
		{"chunks", f.Chunks != 0},
		{"bytes", f.Bytes != 0},
		{"end", f.End != ""},
		{"ping", f.Ping != 0},
		{"status", f.Status != 0},
		{"type", f.Type != ""},
		{"code", f.Code != ""},
		{"message", f.Message != ""},
		{"body", f.Body != ""},
		{"header", len(f.Header) > 0},
	} {
		if detail.set && !slices.Contains(takes, detail.name) {
			return f, fmt.Errorf("fault %q takes no %s", f.Kind, detail.name)
		}
	}
	switch {
	case f.Delay < 0 || f.Delay > maxDelay || f.Ping < 0 || f.Ping > maxDelay:
		return f, fmt.Errorf("fault %q: delay and ping must be between 0 and 1h", f.Kind)
	case f.Chunks < 0 || f.Bytes < 0:
		return f, fmt.Errorf("fault %q: chunks and bytes must not be negative", f.Kind)
	case f.Chunks > 0 && f.Bytes > 0:
		return f, fmt.Errorf("fault %q takes chunks or bytes", f.Kind)
	case f.When != "" && f.When != Before && f.When != After:
		return f, fmt.Errorf("fault %q: when must be %q or %q", f.Kind, Before, After)
	case f.End != "" && f.End != EndFIN && f.End != EndReset && (f.End != EndClean || f.Kind != FaultCut):
		return f, fmt.Errorf("fault %q cannot end %q", f.Kind, f.End)
	case f.Body != "" && f.Body != BodyHTML && f.Body != BodyEmpty:
		return f, fmt.Errorf("fault %q: body must be %q or %q", f.Kind, BodyHTML, BodyEmpty)
	}
	return f.withDefaults()
}

func (f Fault) withDefaults() (Fault, error) {
	switch f.Kind {
	case FaultStatus, FaultError:
		if f.Status == 0 && f.Kind == FaultError {
			f.Status = http.StatusInternalServerError
		}
		if f.Status < 400 || f.Status > 599 {
			return f, fmt.Errorf("fault %q: status must be between 400 and 599", f.Kind)
		}
		if f.Message == "" {
			f.Message = "a scripted fault"
		}
	case FaultDelay, FaultFirstToken, FaultStall:
		if f.Delay == 0 {
			f.Delay = Duration(time.Second)
		}
	case FaultSlow:
		if f.Delay == 0 {
			f.Delay = Duration(10 * time.Millisecond)
		}
	case FaultTimeout:
		if f.Delay == 0 {
			f.Delay = maxDelay
		}
	case FaultTrickle:
		if f.Bytes == 0 {
			f.Bytes = 1
		}
	}
	return f, nil
}

// problem is the error that the fault answers.
func (f Fault) problem() *Problem {
	p := &Problem{Status: f.Status, Type: f.Type, Code: f.Code, Message: f.Message, Header: http.Header{}}
	for name, value := range f.Header {
		p.Header.Set(name, value)
	}
	return p
}

// aim limits a fault in a prompt.
type aim struct {
	provider Provider
	model    string
	key      string
	sends    uint64 // the first so many times that the prompt is sent; 0: always
}

func (a aim) hits(p Provider, model, key string, sent uint64) bool {
	return (a.provider == "" || a.provider == p) && (a.model == "" || a.model == model) &&
		(a.key == "" || a.key == key) && (a.sends == 0 || sent <= a.sends)
}

// errNoFault is for text in which no kind stands.
var errNoFault = errors.New("a fault begins with its kind")

// ParseFault reads a fault as the Sandbox-Fault header has it: its kind and its
// details, such as
//
//	status; status=429; code=insufficient_quota
//	status; status=503; retry-after=2
//	status; status=500; x-should-retry=false; message="out of order"
//	stall; chunks=3; delay=2s; ping=200ms
//	cut; bytes=100; end=reset
//	timeout; when=after
//
// The details have the names of [Fault]'s fields in JSON; retry-after,
// retry-after-ms and x-should-retry are headers of the error.
func ParseFault(text string) (Fault, error) {
	f, _, err := parseFault(text, false)
	return f, err
}

func parseFault(text string, aimed bool) (Fault, aim, error) {
	kind, params, err := mime.ParseMediaType(strings.TrimSpace(text))
	if err != nil {
		return Fault{}, aim{}, fmt.Errorf("%w: %w", errNoFault, err)
	}
	f, a := Fault{Kind: FaultKind(kind)}, aim{}
	number := func(text string) (n int64) {
		var failed error
		if n, failed = strconv.ParseInt(text, 10, 64); failed != nil && err == nil {
			err = failed
		}
		return n
	}
	duration := func(text string) Duration {
		d, failed := time.ParseDuration(text)
		if failed != nil && err == nil {
			err = failed
		}
		return Duration(d)
	}
	for name, value := range params {
		switch name {
		case "when":
			f.When = When(value)
		case "delay":
			f.Delay = duration(value)
		case "ping":
			f.Ping = duration(value)
		case "chunks":
			f.Chunks = int(number(value))
		case "bytes":
			f.Bytes = number(value)
		case "end":
			f.End = End(value)
		case "status":
			f.Status = int(number(value))
		case "type":
			f.Type = value
		case "code":
			f.Code = value
		case "message":
			f.Message = value
		case "body":
			f.Body = Body(value)
		case "retry-after", "retry-after-ms", "x-should-retry":
			if f.Header == nil {
				f.Header = map[string]string{}
			}
			f.Header[name] = value
		case "provider", "model", "key", "sends":
			if !aimed {
				return Fault{}, a, fmt.Errorf("%s aims a fault in a prompt; a header meets its own request", name)
			}
			switch name {
			case "provider":
				a.provider = Provider(value)
			case "model":
				a.model = value
			case "key":
				a.key = value
			default:
				a.sends = uint64(max(number(value), 0))
			}
		default:
			return Fault{}, a, fmt.Errorf("unknown detail %q of a fault", name)
		}
	}
	if err != nil {
		return Fault{}, a, fmt.Errorf("malformed fault: %w", err)
	}
	if a.provider != "" {
		if err := a.provider.validate(); err != nil {
			return Fault{}, a, err
		}
	}
	f, err = f.normal()
	return f, a, err
}
