package dispatch

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// BenchmarkAnswer is a small request over loopback, by a bare http.Client and by the
// dispatcher, in one run: the difference is what the dispatcher costs.
func BenchmarkAnswer(b *testing.B) {
	p := wire.OpenAI
	u := newUpstream(b, answer(p))
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(p)(w, r)
	})
	d := newDispatcher(b)
	r := asking(b, chained(provided("a", p, u.URL, "a1")), p, false)
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: d.options.transport(r.Route.Chain[0].Provider)}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			response, err := client.Post(u.URL+"/v1/chat/completions", "application/json", strings.NewReader(string(r.Wire.Body)))
			require.NoError(b, err)
			_, err = io.ReadAll(response.Body)
			require.NoError(b, err)
			response.Body.Close()
		}
	})
	b.Run("dispatched", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := d.Do(b.Context(), r)
			require.NoError(b, err)
		}
	})
}

// BenchmarkChunk is an event of a long stream, by a bare http.Client that copies bytes and
// by the dispatcher that reads events. Each is flushed by its sender.
func BenchmarkChunk(b *testing.B) {
	p := wire.OpenAI
	before, content, _ := split(b, p, recording(p, "first"))
	u := newUpstream(b, events(""))
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		events(before)(w, r)
		for r.Context().Err() == nil {
			events(content)(w, r)
		}
	})
	d := newDispatcher(b)
	r := asking(b, chained(provided("a", p, u.URL, "a1")), p, true)
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: d.options.transport(r.Route.Chain[0].Provider)}
		defer client.CloseIdleConnections()
		response, err := client.Post(u.URL+"/v1/chat/completions", "application/json", strings.NewReader(string(r.Wire.Body)))
		require.NoError(b, err)
		defer response.Body.Close()
		chunk := make([]byte, len(content))
		b.ReportAllocs()
		for b.Loop() {
			_, err := io.ReadFull(response.Body, chunk)
			require.NoError(b, err)
		}
	})
	b.Run("dispatched", func(b *testing.B) {
		got, err := d.Do(b.Context(), r)
		require.NoError(b, err)
		defer got.Stream.Close() //nolint:errcheck // it never fails
		b.ReportAllocs()
		for b.Loop() {
			_, err := got.Stream.Next()
			require.NoError(b, err)
		}
	})
}
