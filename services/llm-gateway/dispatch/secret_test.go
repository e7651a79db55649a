package dispatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// TestASecretIsNowhereButInItsHeader: providers that quote the key they do not accept
// find no way to who called, to the log, or to the books.
func TestASecretIsNowhereButInItsHeader(t *testing.T) {
	for _, p := range protocols {
		const secret = "secret-a1"
		quoting := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Request-Id", secret)
			w.Header().Set("X-Request-Id", secret)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"type":"authentication_error","code":%q,"message":"the key %s is unknown"},"request_id":%q}`, secret, secret, secret)
		}
		before, content, _ := split(t, p, recording(p, "first"))
		for name, act := range map[string]act{
			"in an error": quoting,
			"in a page": func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				fmt.Fprint(w, secret)
			},
			"in a stream's error":     events(errorEvent(p, secret)),
			"in the middle of one":    events(before + content + errorEvent(p, secret)),
			"in an event that is not": events("data: " + secret + "\n\n"),
			"in a content type": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/"+secret)
				fmt.Fprint(w, "?")
			},
		} {
			t.Run(p.String()+" "+name, func(t *testing.T) {
				u := newUpstream(t, act)
				d := newDispatcher(t)
				books := &ledger{}
				r := asking(t, chained(provided("a", p, u.URL, "a1")), p, true)
				r.Books = books
				got, err := d.Do(t.Context(), r)
				if err == nil {
					_, err = drink(t, got.Stream)
				}
				f := failed(t, err)
				said := fmt.Sprintf("%v %+v %#v %s %+v %+v", err, *f, f.Cause, FormatPath(f.Path), d.Status(), books)
				if f.Last != nil {
					said += fmt.Sprintf("%+v %s", *f.Last, f.Last.Raw)
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					said += e.Error()
				}
				status, err := json.Marshal(d.Status())
				require.NoError(t, err)
				require.NotContains(t, said+string(status)+d.logs.String(), secret)
				header := u.requests()[0].header
				require.Contains(t, []string{header.Get("X-Api-Key"), header.Get("Authorization")}, map[wire.Protocol]string{wire.Anthropic: secret, wire.OpenAI: "Bearer " + secret}[p])
			})
		}
	}
}
