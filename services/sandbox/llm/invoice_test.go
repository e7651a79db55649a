package llm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARequestCanBeLookedUpByItsID(t *testing.T) {
	w := start(t)
	status, _ := w.lookup("r.1")
	require.Equal(t, 404, status)
	for _, p := range Providers {
		for _, fields := range [][]string{nil, streamed} {
			id := fmt.Sprintf("%s-%d.1", p, len(fields))
			a := w.ask(p, modelFor[p], "hello [[tokens 6]]", fields, RequestIDHeader, id)
			require.Equal(t, 200, a.status)
			status, row := w.lookup(id)
			require.Equal(t, 200, status)
			require.Equal(t, StateFinished, row.State)
			require.Equal(t, int64(6), row.Usage.Output)
			require.Equal(t, p, row.Provider)
			require.Equal(t, modelFor[p], row.Model)
			require.Equal(t, "sandbox-a", row.Key)
			require.Equal(t, len(fields) > 0, row.Stream)
			require.Contains(t, a.body, row.ID)
			m, _ := modelOf(p, row.Model)
			require.Equal(t, m.Price.Cost(row.Usage), row.Billed)
		}
	}
	require.Equal(t, 503, w.ask(OpenAI, "gpt-sandbox", "x", nil, RequestIDHeader, "failed.1", FaultHeader, "status; status=503").status)
	w.ask(OpenAI, "gpt-sandbox", "x", streamed, RequestIDHeader, "failed.2", FaultHeader, "error")
	for _, id := range []string{"failed.1", "failed.2"} {
		status, _ = w.lookup(id)
		require.Equal(t, 404, status, "it never cost anything")
	}
	listed := w.call("", "/llm/invoice?request=failed", "")
	require.Equal(t, 200, listed.status, listed.body)
	require.Empty(t, decode[Page](t, listed.body).Rows)
	require.NoError(t, w.handler.SetScript(Script{Rules: []Rule{{Fault: Fault{Kind: FaultStatus, Status: 503}, Operations: []Operation{OperationLookup}}}}))
	status, _ = w.lookup("openai-0.1")
	require.Equal(t, 503, status, "a lookup can fail, too")
}

func TestARequestThatHangsIsRunning(t *testing.T) {
	w := start(t)
	ctx, leave := contextOf(t)
	left := make(chan error, 1)
	go func() {
		response, err := w.send(ctx, OpenAI, paths[OpenAI], bodyOf(t, OpenAI, "gpt-sandbox", "x"), RequestIDHeader, "r.1", FaultHeader, "timeout")
		if err == nil {
			response.Body.Close()
		}
		left <- err
	}()
	require.Eventually(t, func() bool {
		status, row := w.lookup("r.1")
		return status == 200 && row.State == StateRunning && row.Billed == 0
	}, 10*time.Second, time.Millisecond)
	leave()
	require.Error(t, <-left)
	require.Eventually(t, func() bool {
		status, _ := w.lookup("r.1")
		return status == 404
	}, 10*time.Second, time.Millisecond, "it was never begun")
}

func TestTheInvoiceIsReadByPages(t *testing.T) {
	w := start(t)
	var between time.Time
	for i := range 5 {
		if i == 2 {
			time.Sleep(2 * time.Millisecond)
			between = time.Now()
		}
		w.ask(OpenAI, "gpt-sandbox", "x [[tokens 3]]", nil, RequestIDHeader, fmt.Sprintf("req%d.1", i/2))
	}
	w.anthropic("claude-sandbox", "x [[tokens 4]]")
	page := func(query url.Values) Page {
		a := w.call("", "/llm/invoice?"+query.Encode(), "")
		require.Equal(t, 200, a.status, a.body)
		return decode[Page](t, a.body)
	}
	all := page(url.Values{})
	require.Len(t, all.Rows, 6)
	require.Zero(t, all.Next)
	require.Len(t, all.Totals, 2)
	require.Equal(t, int64(15), all.Totals[1].Usage.Output)
	var billed int64
	for _, row := range all.Rows[:5] {
		billed += row.Billed
	}
	require.Equal(t, billed, all.Totals[1].Billed)

	var walked []Row
	p := page(url.Values{"limit": {"4"}})
	require.Len(t, p.Totals, 2, "of all of it")
	for {
		walked = append(walked, p.Rows...)
		if p.Next == 0 {
			break
		}
		p = page(url.Values{"limit": {"4"}, "after": {fmt.Sprint(p.Next)}})
		require.Empty(t, p.Totals)
	}
	require.Equal(t, all.Rows, walked)
	ofAll, err := w.invoice.Totals(Selection{After: 3, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, all.Totals, ofAll)
	require.Len(t, page(url.Values{"request": {"req0"}}).Rows, 2)
	require.Len(t, page(url.Values{"request": {"req2.1"}}).Rows, 1)
	require.Len(t, page(url.Values{"since": {between.Format(time.RFC3339Nano)}}).Rows, 4)
	require.Len(t, page(url.Values{"until": {between.Format(time.RFC3339Nano)}}).Rows, 2)
	require.Empty(t, page(url.Values{"since": {time.Now().Add(time.Hour).Format(time.RFC3339Nano)}}).Rows)
	for _, query := range []string{"since=yesterday", "until=x", "after=-1", "limit=0", "limit=100000"} {
		require.Equal(t, 400, w.call("", "/llm/invoice?"+query, "").status, query)
	}
}

func TestTheInvoiceSurvivesARestartAndEndsWhatWasLeftRunning(t *testing.T) {
	w := start(t)
	w.ask(OpenAI, "gpt-sandbox", "x [[tokens 3]]", nil, RequestIDHeader, "done.1")
	row := Row{Request: "left.1", Provider: OpenAI, Model: "gpt-sandbox", State: StateRunning, Usage: Usage{Input: 9}, Billed: 22_500}
	require.NoError(t, w.invoice.record(&row))
	before := w.rows()
	w.stop()
	again := startAt(t, w.path)
	after := again.rows()
	require.Equal(t, before[0], after[0])
	require.Equal(t, StateCut, after[1].State)
	require.Equal(t, int64(22_500), after[1].Billed, "for its prompt")
	_, found := again.lookup("left.1")
	require.Equal(t, StateCut, found.State)
	again.ask(OpenAI, "gpt-sandbox", "x", nil)
	require.Equal(t, uint64(3), again.rows()[2].Sequence, "it goes on where it was")
}

func TestManyAtOnceAreAllOnTheInvoice(t *testing.T) {
	invoice, err := OpenInvoice(filepath.Join(t.TempDir(), "llm.db"))
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			row := Row{Request: fmt.Sprintf("r%d", i), State: StateFinished, Billed: 1}
			if err := invoice.record(&row); err != nil {
				t.Error(err)
			}
			if i%10 == 0 {
				if err := invoice.strike(&row); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	rows, more, err := invoice.Rows(Selection{})
	require.NoError(t, err)
	require.False(t, more)
	require.Len(t, rows, 450)
	for i := 1; i < len(rows); i++ {
		require.Less(t, rows[i-1].Sequence, rows[i].Sequence)
		require.False(t, rows[i].CreateTime.Before(rows[i-1].CreateTime))
	}
	require.NoError(t, invoice.Close())
	require.ErrorIs(t, invoice.record(&Row{}), errClosed)
}

func TestAClockThatIsSetBackLosesNothing(t *testing.T) {
	invoice, err := OpenInvoice(filepath.Join(t.TempDir(), "llm.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, invoice.Close()) }()
	now := time.Now()
	for i := range 20 {
		invoice.now = func() time.Time { return now.Add(-time.Duration(i) * time.Hour) } // the writer waits for us
		require.NoError(t, invoice.record(&Row{State: StateFinished}))
	}
	rows, _, err := invoice.Rows(Selection{Since: now})
	require.NoError(t, err)
	require.Len(t, rows, 20)
}

// TestAServerThatEndsARequestSaysSo: a drain is not the client's leave.
func TestAServerThatEndsARequestSaysSo(t *testing.T) {
	w := start(t)
	ctx, end := context.WithCancelCause(t.Context())
	body := bodyOf(t, OpenAI, "gpt-sandbox", "x [[tokens 9]]", `"stream":true`)
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, paths[OpenAI], strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer sandbox-a")
	r.Header.Set(RequestIDHeader, "r.1")
	r.Header.Set(FaultHeader, "stall; chunks=2; delay=1h")
	ended := make(chan any, 1)
	go func() {
		defer func() { ended <- recover() }()
		w.handler.ServeHTTP(httptest.NewRecorder(), r)
	}()
	require.Eventually(t, func() bool {
		_, row := w.lookup("r.1")
		return row.Usage.Output == 2
	}, 10*time.Second, time.Millisecond)
	end(errors.New("draining"))
	require.Equal(t, http.ErrAbortHandler, <-ended, "what is broken off does not look complete")
	row := w.only()
	require.Equal(t, StateCut, row.State)
	require.Equal(t, int64(2), row.Usage.Output)
}
