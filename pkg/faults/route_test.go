//go:build faults

package faults

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestPutReplacesAllRulesAndDeleteTurnsThemOff(t *testing.T) {
	w := start(t)
	c := w.client()
	w.put(`{"seed": 0, "rules": [{"method": "` + buy + `", "percent": 100, "fault": "error", "code": "ABORTED"}]}`)
	require.Error(t, c.call(buy))
	require.Equal(t, 1, w.logs.Count("level=WARN msg=\"fault injection is on"))
	is := w.shown()
	require.EqualValues(t, 0, *is.Seed)
	require.Equal(t, []string{other, buy, look, watch}, is.Methods)
	require.Equal(t, buy, is.Rules[0].Method)
	require.Equal(t, "ABORTED", is.Rules[0].Code)
	require.Equal(t, before, is.Rules[0].When, "defaults are shown")
	require.EqualValues(t, 1, is.Rules[0].Calls)
	require.EqualValues(t, 1, is.Rules[0].Applied)

	is = w.put(`{"rules": [{"method": "` + look + `", "percent": 100, "fault": "error"}]}`)
	require.Len(t, is.Rules, 1)
	require.NoError(t, c.call(buy), "the rule before is gone")
	require.Error(t, c.call(look))

	code, body := w.ask(http.MethodDelete, "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"rules": []`)
	require.NoError(t, c.call(look))
	require.Nil(t, w.shown().Seed)
	require.Equal(t, 1, w.logs.Count("level=INFO msg=\"fault injection is off"))
	w.ask(http.MethodDelete, "")
	require.Equal(t, 1, w.logs.Count("fault injection is off"), "it was off already")
}

// TestAllMistakesAreNamedAtOnceAndNothingChanges: half of a document would be an
// experiment that nobody asked for.
func TestAllMistakesAreNamedAtOnceAndNothingChanges(t *testing.T) {
	w := start(t)
	w.put(`{"seed": 5, "rules": [{"method": "` + buy + `", "percent": 100, "fault": "error"}]}`)
	code, body := w.ask(http.MethodPut, `{"seed": -1, "speed": 3, "rules": [
		{"method": "toys", "percent": 101, "fault": "error", "code": "FUNNY", "latency": "1s"},
		{"method": "/grpc.health.v1.Health/*", "percent": 0, "fault": "latency", "latency": "-1s", "jitter": "soon"},
		{"method": "/toys.Toys/Steal", "percent": "all", "fault": "reset", "when": "while"},
		{"method": "/games.Games/*", "percent": 1, "fault": "cut", "messages": 0, "with": "love", "when": "after"},
		{"method": null, "percent": 1, "percent": 2, "fault": "explode"},
		{"fault": "cut", "with": "reset", "code": "ABORTED"},
		{"method": "*", "percent": 1, "fault": "latency"},
		7, {}]}`)
	require.Equal(t, http.StatusBadRequest, code, body)
	var problem apierror.Problem
	require.NoError(t, json.Unmarshal([]byte(body), &problem))
	found := map[string]string{}
	for _, e := range problem.Errors {
		require.NotContains(t, found, e.Field, "once is enough")
		found[e.Field] = e.Detail
	}
	for field, words := range map[string]string{
		"seed": "from 0 up", "speed": "no such field",
		"rules[0].method": "must be", "rules[0].percent": "101", "rules[0].code": "UNAVAILABLE", "rules[0].latency": "no such field",
		"rules[1].method": "health", "rules[1].percent": "more than 0", "rules[1].latency": "from 0", "rules[1].jitter": "duration",
		"rules[2].method": "no method", "rules[2].percent": "a number", "rules[2].when": "before or after",
		"rules[3].method": "stream", "rules[3].messages": "1 or more", "rules[3].with": "error or reset", "rules[3].when": "no such field",
		"rules[4].method": "a string", "rules[4].percent": "twice", "rules[4].fault": "explode",
		"rules[5].method": "missing", "rules[5].percent": "missing", "rules[5].messages": "missing", "rules[5].code": "no such field",
		"rules[6].latency": "more than nothing", "rules[7]": "object",
		"rules[8].fault": "missing", "rules[8].method": "missing", "rules[8].percent": "missing",
	} {
		require.Contains(t, found[field], words, "%s in %s", field, body)
		delete(found, field)
	}
	require.Equal(t, map[string]string{"rules[7].fault": found["rules[7].fault"], "rules[7].method": found["rules[7].method"], "rules[7].percent": found["rules[7].percent"]}, found, "and nothing else")
	require.EqualValues(t, 5, *w.shown().Seed, "what was on is on")
	require.Error(t, w.client().call(buy))
}

func TestABodyThatIsNoDocumentIsRefused(t *testing.T) {
	w := start(t)
	for body, words := range map[string]string{
		``:                               "not JSON",
		`{"rules": [}`:                   "not JSON",
		`{"rules": []} {}`:               "not JSON",
		`[]`:                             "object",
		`{}`:                             "missing",
		`{"rules": []}`:                  "DELETE",
		`{"rules": {}}`:                  "list",
		strings.Repeat(" ", 1<<20) + `1`: "1 MiB",
	} {
		code, answer := w.ask(http.MethodPut, body)
		require.Equal(t, http.StatusBadRequest, code, answer)
		require.Contains(t, answer, words)
		require.True(t, json.Valid([]byte(answer)))
	}
	require.Empty(t, w.shown().Rules)
	code, _ := w.ask(http.MethodPost, `{}`)
	require.Equal(t, http.StatusMethodNotAllowed, code)
}

// TestBeforeTheServiceKnowsItsMethodsNoRuleCanBeChecked: the admin port opens
// first.
func TestBeforeTheServiceKnowsItsMethodsNoRuleCanBeChecked(t *testing.T) {
	w := start(t)
	w.injector.methods.Store(nil)
	mux := http.NewServeMux()
	w.injector.Route(mux)
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodPut, "/faults", strings.NewReader(`{}`)))
	require.Equal(t, http.StatusConflict, answer.Code)
	require.Contains(t, answer.Body.String(), "starting")
}
