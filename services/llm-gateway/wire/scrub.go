package wire

import "regexp"

// secrets are what keys look like. Providers quote the key that they refuse, and
// proxies the header that it came in.
var secrets = []*regexp.Regexp{
	// OpenAI's, Anthropic's and those of others begin with a few letters and a dash or
	// an underscore. Asterisks, where the provider has masked a part already.
	regexp.MustCompile(`(^|[^A-Za-z0-9])((?:sk|pk|rk|gsk|xai|hf|pplx|nvapi|csk)[-_][A-Za-z0-9*_.-]{6,})`),
	regexp.MustCompile(`(^|[^A-Za-z0-9])(AIza[A-Za-z0-9_-]{20,})`), // Google's
	regexp.MustCompile(`(?i)(\bbearer\s+)([A-Za-z0-9*_.+/=~-]{6,})`),
	regexp.MustCompile(`(?i)((?:api[-_ ]?key|authorization)["']?\s*[:=]\s*["']?)([A-Za-z0-9*_.+/=~-]{12,})`),
}

// scrub is b without what looks like a key. JSON stays JSON.
func scrub(b []byte) []byte {
	for _, secret := range secrets {
		b = secret.ReplaceAll(b, []byte("${1}[redacted]"))
	}
	return b
}
