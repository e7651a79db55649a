package llm

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFaultsOfAWholeAnswer: what a client sees, and what it is billed for.
func TestFaultsOfAWholeAnswer(t *testing.T) {
	const none = -1 // no answer at all
	for fault, want := range map[string]struct {
		status int
		broken bool // the body
		state  State
	}{
		"status; status=503":                        {status: 503},
		"status; status=502; body=html":             {status: 502},
		"status; status=500; body=empty; delay=1ms": {status: 500},
		"error":                           {status: 500},
		"error; status=529":               {status: 529},
		"drop":                            {status: none},
		"drop; end=reset":                 {status: none},
		"drop; when=after":                {status: none, state: StateFinished},
		"drop; when=after; end=reset":     {status: none, state: StateFinished},
		"timeout; delay=20ms":             {status: none},
		"timeout; when=after; delay=20ms": {status: none, state: StateFinished},
		"delay; delay=20ms":               {status: 200, state: StateFinished},
		"delay; when=after; delay=20ms":   {status: 200, state: StateFinished},
		"first_token; delay=20ms":         {status: 200, state: StateFinished},
		"slow; delay=1ms":                 {status: 200, state: StateFinished},
		"stall; chunks=2; delay=20ms":     {status: 200, state: StateFinished},
		"stall; chunks=200; delay=20ms":   {status: 200, state: StateFinished},
		"cut; bytes=30":                   {status: 200, broken: true, state: StateCut},
		"cut; bytes=30; end=reset":        {status: 200, broken: true, state: StateCut},
		"cut; bytes=30; end=clean":        {status: 200, state: StateCut},
		"cut; bytes=100000":               {status: 200, state: StateFinished},
		"cut; chunks=2":                   {status: none, state: StateCut},
		"trickle; bytes=7":                {status: 200, state: StateFinished},
		"no_usage":                        {status: 200, state: StateFinished},
	} {
		for _, p := range Providers {
			t.Run(fault+" of "+string(p), func(t *testing.T) {
				t.Parallel()
				w := start(t)
				a := w.ask(p, modelFor[p], "hello", nil, FaultHeader, fault)
				if want.status == none {
					require.Error(t, a.err)
					require.Zero(t, a.status)
				} else {
					require.Equal(t, want.status, a.status, "%v %s", a.err, a.body)
					require.Equal(t, want.broken, a.err != nil, "%v", a.err)
				}
				if strings.Contains(fault, "end=reset") {
					require.ErrorIs(t, a.err, syscall.ECONNRESET)
				}
				if strings.Contains(fault, "bytes=30") {
					require.Len(t, a.body, 30)
				}
				if want.state == "" {
					require.Empty(t, w.rows(), "it failed before it cost anything")
					return
				}
				row := w.only()
				require.Equal(t, want.state, row.State)
				require.Positive(t, row.Usage.Output)
				require.Positive(t, row.Billed)
				require.Equal(t, fault != "no_usage" && a.status == 200 && want.state == StateFinished, strings.Contains(a.body, `"usage"`))
			})
		}
	}
}

// TestFaultsOfAStream: what arrives, and what is billed.
func TestFaultsOfAStream(t *testing.T) {
	const none = -1 // no answer at all
	const all = 20  // chunks
	for fault, want := range map[string]struct {
		status  int
		broken  bool
		chunks  int   // that arrive
		billed  int64 // tokens of output
		state   State
		mention string
	}{
		"status; status=503":                     {status: 503},
		"drop":                                   {status: none},
		"drop; when=after":                       {status: none, billed: all, state: StateFinished},
		"timeout; delay=20ms":                    {status: none},
		"timeout; when=after; delay=20ms":        {status: none, billed: all, state: StateFinished},
		"delay; delay=20ms":                      {status: 200, chunks: all, billed: all, state: StateFinished},
		"delay; when=after; delay=20ms":          {status: 200, chunks: all, billed: all, state: StateFinished},
		"first_token; delay=20ms":                {status: 200, chunks: all, billed: all, state: StateFinished},
		"slow; delay=1ms":                        {status: 200, chunks: all, billed: all, state: StateFinished},
		"stall; chunks=3; delay=20ms":            {status: 200, chunks: all, billed: all, state: StateFinished},
		"stall; chunks=30; delay=20ms":           {status: 200, chunks: all, billed: all, state: StateFinished},
		"stall; chunks=3; delay=60ms; ping=20ms": {status: 200, chunks: all, billed: all, state: StateFinished, mention: "ping"},
		"error":                                  {status: 200, mention: "a scripted fault"},
		"error; chunks=3; message=oops":          {status: 200, chunks: 3, billed: 3, state: StateCut, mention: "oops"},
		"error; chunks=99":                       {status: 200, chunks: all, billed: all, state: StateCut, mention: "a scripted fault"},
		"cut; chunks=3":                          {status: 200, broken: true, chunks: 3, billed: 3, state: StateCut},
		"cut; chunks=3; end=reset":               {status: 200, broken: true, chunks: 3, billed: 3, state: StateCut},
		"cut; chunks=3; end=clean":               {status: 200, chunks: 3, billed: 3, state: StateCut},
		"cut; chunks=99":                         {status: 200, broken: true, chunks: all, billed: all, state: StateCut},
		"cut":                                    {status: 200, broken: true, state: StateCut},
		"cut; bytes=100000":                      {status: 200, chunks: all, billed: all, state: StateFinished},
		"trickle; bytes=7":                       {status: 200, chunks: all, billed: all, state: StateFinished},
		"no_usage":                               {status: 200, chunks: all, billed: all, state: StateFinished},
	} {
		for _, p := range Providers {
			t.Run(fault+" of "+string(p), func(t *testing.T) {
				t.Parallel()
				w := start(t)
				fields := []string{`"stream":true`}
				if p != Anthropic {
					fields = append(fields, `"stream_options":{"include_usage":true}`)
				}
				a := w.ask(p, modelFor[p], fmt.Sprintf("hello [[tokens %d]]", all), fields, FaultHeader, fault)
				if want.status == none {
					require.Error(t, a.err)
					require.Zero(t, a.status)
				} else {
					require.Equal(t, want.status, a.status, "%v %s", a.err, a.body)
					require.Equal(t, want.broken, a.err != nil, "%v", a.err)
				}
				if strings.Contains(fault, "end=reset") {
					require.ErrorIs(t, a.err, syscall.ECONNRESET)
				}
				if a.status == 200 {
					require.Len(t, strings.Fields(texts(t, p, a.body)), want.chunks)
					require.Contains(t, a.body, want.mention)
					whole := strings.Contains(a.body, "[DONE]") || strings.Contains(a.body, "message_stop")
					require.Equal(t, want.state == StateFinished, whole)
					if whole {
						require.Equal(t, fault != "no_usage", strings.Contains(a.body, `usage":{`))
					}
				}
				if want.state == "" {
					require.Empty(t, w.rows(), "it failed before it cost anything")
					return
				}
				row := w.only()
				require.Equal(t, want.state, row.State)
				billed := want.billed
				if fault == "cut" && p == Compatible {
					billed = 1 // its first event has content, which was on its way
				}
				require.Equal(t, billed, row.Usage.Output)
				require.Positive(t, row.Usage.Input)
			})
		}
	}
}

func TestAStreamIsCutAtTheByte(t *testing.T) {
	for _, p := range Providers {
		t.Run(string(p), func(t *testing.T) {
			w := start(t)
			whole := w.ask(p, modelFor[p], "hello", streamed).body
			for _, n := range []int{1, len(whole) / 2, len(whole) - 1} {
				a := w.ask(p, modelFor[p], "hello", streamed, FaultHeader, fmt.Sprintf("cut; bytes=%d", n))
				require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
				require.Len(t, a.body, n)
				row := w.rows()
				require.Equal(t, StateCut, row[len(row)-1].State)
			}
			a := w.ask(p, modelFor[p], "hello", streamed, FaultHeader, fmt.Sprintf("cut; bytes=%d", len(whole)))
			require.NoError(t, a.err, "there was nothing to cut")
		})
	}
}

func TestWhatIsThoughtIsProducedBeforeTheFirstChunk(t *testing.T) {
	for _, p := range []Provider{OpenAI, Anthropic} {
		w := start(t)
		w.ask(p, "sandbox-reasoning", "hello [[tokens 9]]", streamed)
		w.ask(p, "sandbox-reasoning", "hello [[tokens 9]]", streamed, FaultHeader, "cut; chunks=2")
		whole, cut := w.rows()[0].Usage, w.rows()[1].Usage
		require.Equal(t, whole.Reasoning+9, whole.Output)
		require.Equal(t, whole.Reasoning, cut.Reasoning)
		require.Equal(t, whole.Reasoning+2, cut.Output)
	}
}

// TestAReadTimeoutOfTheServerIsForTheRequestOnly: it is not how long an answer may
// take.
func TestAReadTimeoutOfTheServerIsForTheRequestOnly(t *testing.T) {
	w := start(t)
	short := httptest.NewUnstartedServer(w.handler)
	short.Config.ReadTimeout = 100 * time.Millisecond
	short.Start()
	defer short.Close()
	w.url = short.URL
	a := w.ask(OpenAI, "gpt-sandbox", "hello", streamed, FaultHeader, "stall; chunks=2; delay=400ms")
	require.NoError(t, a.err)
	require.Contains(t, a.body, "[DONE]")
	require.Equal(t, StateFinished, w.only().State)
}

func TestAnErrorHasItsHeadersAndItsCode(t *testing.T) {
	w := start(t)
	a := w.ask(OpenAI, "gpt-sandbox", "x", nil, FaultHeader, `status; status=429; code=slow_down; type=rate_limit_error; message="slow down"; retry-after=7; retry-after-ms=6500; x-should-retry=false`)
	require.Equal(t, 429, a.status)
	require.Equal(t, "7", a.header.Get("Retry-After"))
	require.Equal(t, "6500", a.header.Get("Retry-After-Ms"))
	require.Equal(t, "false", a.header.Get("X-Should-Retry"))
	e := decode[openAIError](t, a.body).Error
	require.Equal(t, "slow_down", *e.Code)
	require.Equal(t, "slow down", e.Message)
	require.Contains(t, w.ask(Anthropic, "claude-sandbox", "x", nil, FaultHeader, "status; status=502; body=html").body, "<html>")
}

func TestAClientThatLeavesIsBilledForWhatWasProduced(t *testing.T) {
	for _, p := range Providers {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s stream %v", p, stream), func(t *testing.T) {
				t.Parallel()
				w := start(t)
				ctx, leave := contextOf(t)
				body := bodyOf(t, p, modelFor[p], "hello [[tokens 10000]]", fmt.Sprintf(`"stream":%v`, stream), `"max_tokens":10000`)
				left := make(chan struct{})
				go func() {
					defer close(left)
					response, err := w.send(ctx, p, paths[p], body, FaultHeader, "slow; delay=2ms", RequestIDHeader, "r.1")
					if err == nil {
						_, err = io.ReadAll(response.Body)
						response.Body.Close()
					}
					if err == nil {
						t.Error("it was cancelled")
					}
				}()
				require.Eventually(t, func() bool {
					status, row := w.lookup("r.1")
					return status == 200 && row.State == StateRunning && row.Usage.Output >= 3
				}, 10*time.Second, time.Millisecond)
				leave()
				<-left
				require.Eventually(t, func() bool {
					_, row := w.lookup("r.1")
					return row.State == StateCancelled
				}, 10*time.Second, time.Millisecond)
				row := w.only()
				require.GreaterOrEqual(t, row.Usage.Output, int64(3))
				require.Less(t, row.Usage.Output, int64(10000))
				require.Positive(t, row.Usage.Input)
				m, _ := modelOf(p, modelFor[p])
				require.Equal(t, m.Price.Cost(row.Usage), row.Billed)
			})
		}
	}
}

func TestAnUnknownOrMisplacedDetailIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "explode", "drop; side=after", "slow; delay=soon", ";;", "status", "status; status=200", "status; status=x", "slow; when=after",
		"cut; bytes=1; chunks=1", "cut; bytes=-1", "drop; end=clean", "drop; end=somehow", "stall; ping=2h", "delay; when=during",
		"status; status=500; body=pdf", "drop; provider=openai", "no_usage; delay=1s",
	} {
		_, err := ParseFault(text)
		require.Error(t, err, text)
	}
	_, _, err := parseFault("drop; provider=nobody", true)
	require.Error(t, err)
	_, err = ParseFault("")
	require.True(t, errors.Is(err, errNoFault))
}
