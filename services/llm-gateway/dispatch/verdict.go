package dispatch

// Verdict is what may be done after an attempt that failed.
type Verdict uint8

// The verdicts.
const (
	// Never: the request would fail everywhere, or nobody waits for it.
	Never Verdict = iota + 1
	// Here: the same target, with the same key, after a pause.
	Here
	// NextKey: another key of the same target, then another target.
	NextKey
	// NextTarget: another target.
	NextTarget
)

// String says it in words, for the log and the documentation.
func (v Verdict) String() string {
	switch v {
	case Never:
		return "never"
	case Here:
		return "here"
	case NextKey:
		return "next key"
	case NextTarget:
		return "next target"
	default:
		return "unknown"
	}
}

// Level is whom a failure counts against.
type Level uint8

// The levels. A failure counts against the smallest thing that explains it: a key
// that is used up must not keep requests with other keys away, and a model that
// is overloaded not those for other models.
const (
	// Nobody: the request was wrong, or its caller left.
	Nobody Level = iota + 1
	// Key: it rests.
	Key
	// Model: the provider's breaker for this model counts it.
	Model
	// Provider: that of the provider counts it too.
	Provider
)

// String says it in words.
func (l Level) String() string {
	switch l {
	case Nobody:
		return "nobody"
	case Key:
		return "key"
	case Model:
		return "provider and model"
	case Provider:
		return "provider"
	default:
		return "unknown"
	}
}

// rest is how long a key is left alone.
type rest uint8

const (
	awake  rest = iota
	hinted      // as long as the provider says, or the backoff
	long        // until somebody has looked: Options.LongRest
)

func (r rest) String() string {
	switch r {
	case hinted:
		return "as hinted"
	case long:
		return "long"
	default:
		return ""
	}
}
