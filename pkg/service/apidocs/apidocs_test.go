package apidocs

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func ask(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler([]byte(`{"swagger":"2.0"}`), "hf_dev_key").ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	body := ask("/docs").Body.String()
	require.Contains(t, body, "<title>Holdfast API</title>")
	require.Contains(t, body, `data-key="hf_dev_key"`)
	require.NotRegexp(t, regexp.MustCompile(`(src|href)="(https?:)?//`), body)
	for _, placeholder := range []string{"/*STYLE*/", "/*SCRIPT*/", "{{KEY}}"} {
		require.NotContains(t, body, placeholder)
	}
}

func TestThePolicyAllowsExactlyThePagesOwnScript(t *testing.T) {
	w := ask("/docs")
	inline := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindStringSubmatch(w.Body.String())
	require.Len(t, inline, 2)
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "script-src 'sha256-"+digest(inline[1])+"'")
	require.Equal(t, 1, strings.Count(w.Body.String(), "</script>"))
}

func TestTheDescriptionIsServedAsItIs(t *testing.T) {
	w := ask("/openapi.json")
	require.Equal(t, `{"swagger":"2.0"}`, w.Body.String())
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
}
