package drill

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnAnswerThatWasCutIsNotTakenForAWholeOne(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		stream bool
		err    error
		kind   string // "" is a whole answer
	}{
		"whole":             {200, "data: {}\n\ndata: [DONE]\n\n", true, nil, ""},
		"whole, at once":    {200, `{"choices":[]}`, false, nil, ""},
		"ends politely":     {200, "data: {}\n\n", true, nil, cutSilently},
		"half of a body":    {200, `{"choices":[`, false, nil, cutSilently},
		"connection breaks": {200, "data: {}\n\n", true, io.ErrUnexpectedEOF, cutLoudly},
		"says so":           {200, "data: {}\n\ndata: {\"error\":{\"code\":\"generation_interrupted\"}}\n\n", true, nil, interrupted},
		"over budget":       {429, `{"error":{"code":"budget_spent"}}`, true, nil, refusedByBudget},
		"overloaded":        {503, `{"error":{"code":"overloaded"}}`, true, nil, "http 503"},
	} {
		t.Run(name, func(t *testing.T) {
			q := modelQuestion{end: "data: [DONE]\n\n", stream: row.stream}
			failure := q.judge(row.status, row.body, row.err)
			if row.kind == "" {
				require.Nil(t, failure)
				return
			}
			require.NotNil(t, failure)
			require.Equal(t, row.kind, failure.Kind)
		})
	}
}

func TestQuestionsDependOnTheirNumberAlone(t *testing.T) {
	one, other := newAskers("nowhere", 7, "key"), newAskers("elsewhere", 7, "other")
	streams, paths := map[bool]bool{}, map[string]bool{}
	for n := range int64(20) {
		require.Equal(t, one.question(n), other.question(n))
		streams[one.question(n).stream], paths[one.question(n).path] = true, true
	}
	require.Len(t, streams, 2)
	require.Len(t, paths, 2)
}
