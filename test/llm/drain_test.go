package llm

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// streams are answers that are being read.
type streams struct {
	reading sync.WaitGroup
	mu      sync.Mutex
	bodies  []string
	errs    []error
}

// open begins so many streams, half in each protocol, and returns when each has
// content.
func (s *streams) open(t *testing.T, at string, n int, prompt string) {
	t.Helper()
	var begun sync.WaitGroup
	for i := range n {
		protocol := protocols[i%len(protocols)]
		begun.Add(1)
		s.reading.Go(func() {
			began := sync.OnceFunc(begun.Done)
			defer began()
			response, err := post(t, context.WithoutCancel(t.Context()), at, protocol.path, said(protocol.path, protocol.model, prompt, asStream))
			var body []byte
			if err == nil {
				began()
				body, err = io.ReadAll(response.Body)
				response.Body.Close()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.bodies, s.errs = append(s.bodies, string(body)), append(s.errs, err)
		})
	}
	begun.Wait()
}

// wait returns how many streams came to their end, how many were told that they were
// cut, and those that were cut without a word.
func (s *streams) wait() (whole, interrupted int, cut []string) {
	s.reading.Wait()
	for i, body := range s.bodies {
		switch {
		case s.errs[i] == nil && (strings.HasSuffix(body, protocols[0].end) || strings.HasSuffix(body, protocols[1].end)):
			whole++
		case s.errs[i] == nil && strings.Contains(body, "generation_interrupted"):
			interrupted++
		default:
			cut = append(cut, fmt.Sprintf("…%q %v", body[max(0, len(body)-300):], s.errs[i]))
		}
	}
	return whole, interrupted, cut
}

const manyStreams = 300

func TestADrainWaitsForStreams(t *testing.T) {
	p := start(t, "", "HOLDFAST_SHED_ENABLED", "false") // they all come at once
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(100 * time.Millisecond)}})
	var s streams
	s.open(t, p.gateway.HTTPURL, manyStreams, "write on [[tokens 40]]")
	require.NoError(t, p.gateway.Stop(), "the drain was forced")
	whole, interrupted, cut := s.wait()
	require.Empty(t, cut)
	require.Equal(t, manyStreams, whole)
	require.Zero(t, interrupted)
	require.Equal(t, p.invoiced(), p.settled())
}

// TestWithoutADrainStreamsAreCut is the control.
func TestWithoutADrainStreamsAreCut(t *testing.T) {
	p := start(t, "")
	second := servicetest.StartWith(t, llmgateway.Definition, []service.Option{service.WithSabotage(service.NoDrain)},
		append(slices.Clone(p.env), "HOLDFAST_DATABASE_URL", p.gateway.Database.URL)...)
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(100 * time.Millisecond)}})
	var s streams
	s.open(t, second.HTTPURL, 20, "write on [[tokens 40]]")
	_ = second.Stop() // how it ends is what the streams tell
	_, _, cut := s.wait()
	require.NotEmpty(t, cut)
}

// TestPastItsTimeADrainSaysSo: the streams are told, and billed for what they had.
func TestPastItsTimeADrainSaysSo(t *testing.T) {
	p := start(t, "", "HOLDFAST_SHED_ENABLED", "false", "HOLDFAST_DRAIN_CAP", "12s", "HOLDFAST_CUT_OFF_BEFORE", "6s")
	p.script(sandbox.Rule{Fault: sandbox.Fault{Kind: sandbox.FaultSlow, Delay: sandbox.Duration(200 * time.Millisecond)}})
	var s streams
	s.open(t, p.gateway.HTTPURL, manyStreams, "write on [[tokens 900]]")
	require.NoError(t, p.gateway.Stop(), "a drain is not forced that everybody is told of in time")
	whole, interrupted, cut := s.wait()
	require.Empty(t, cut)
	require.Zero(t, whole)
	require.Equal(t, manyStreams, interrupted)
	p.another() // asks what became of them
	require.Equal(t, p.settled(), p.invoiced())
	rows, _, err := p.providers.Invoice().Rows(sandbox.Selection{})
	require.NoError(t, err)
	require.Len(t, rows, manyStreams)
	for _, row := range rows {
		require.Equal(t, sandbox.StateCancelled, row.State, "the provider went on writing for nobody")
	}
}
