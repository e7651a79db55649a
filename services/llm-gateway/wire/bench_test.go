package wire

import (
	"bytes"
	"strings"
	"testing"
)

func bodyOf(size int) []byte {
	const turn = `{"role":"user","content":"Ships that pass in the night, and speak each other in passing;\nonly a \"signal\" shown."},`
	return []byte(`{"model":"gpt-5.2","stream":true,"messages":[` + strings.TrimSuffix(strings.Repeat(turn, size/len(turn)), ",") + `],"max_completion_tokens":4096}`)
}

func BenchmarkScanAndRewrite100KB(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"turns", bodyOf(100 << 10)},
		{"prose", []byte(`{"model":"m","messages":[{"content":"` + strings.Repeat("only a signal shown and a distant voice ", 2560) + `"}]}`)},
		{"code", []byte(`{"model":"m","messages":[{"content":"` + strings.Repeat(`\tif err != nil {\n\t\treturn \"x\"\n`, 3000) + `"}]}`)},
		{"japanese", []byte(`{"model":"m","messages":[{"content":"` + strings.Repeat("潮が引いている。", 4266) + `"}]}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			changes := Changes{Model: "other", MaxTokens: 1000, AskUsage: true}
			var dst []byte
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := Scan(OpenAI, c.body)
				if err != nil {
					b.Fatal(err)
				}
				dst = r.Rewrite(dst[:0], changes)
			}
		})
	}
}

func BenchmarkScanSmall(b *testing.B) {
	body := bodyOf(300)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(OpenAI, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEstimateTokensOfAPicture(b *testing.B) {
	body := []byte(`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("QUJD", 25<<10) + `"}}]}]}`)
	b.ReportAllocs()
	for b.Loop() {
		EstimateTokens(body)
	}
}

func BenchmarkChunk(b *testing.B) {
	for _, name := range recordings {
		b.Run(name, func(b *testing.B) {
			events := bytes.SplitAfter(recorded(b, name), []byte("\n\n"))
			chunk := events[map[Protocol]int{OpenAI: 1, Anthropic: 7}[protocolOf(name)]]
			s := NewStream(protocolOf(name))
			var e Events
			see := func(ev Event) error { _, err := s.See(ev); return err }
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Feed(chunk, see); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadAnswer100KB(b *testing.B) {
	body := []byte(strings.Replace(openAIAnswer, `"content":"`, `"content":"`+strings.Repeat("only a signal shown and a distant voice\\n", 2500), 1))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadAnswer(OpenAI, body); err != nil {
			b.Fatal(err)
		}
	}
}
