package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/test/load"
)

// prompter has models write, and reads what they write to the end. Each generation
// must end as its protocol ends, after every word that was asked for: one that is
// cut off was paid for and is worth nothing.
type prompter struct {
	target PromptTarget
	seed   uint64
	// shortest and longest bound how long a generation takes.
	shortest, longest time.Duration
	rpc               *load.GRPC
	web               *http.Client
}

// wordEvery is the time between two words of a generation: shorter than whatever
// calls a stream stalled, and long enough to keep hundreds open on one CPU.
const wordEvery = 500 * time.Millisecond

// newPrompter returns clients of the gateway at target.
func newPrompter(t PromptTarget, o PromptOptions) (*prompter, error) {
	rpc, err := load.NewGRPC(t.GRPC, llmv1.LLMGatewayService_StreamGenerate_FullMethodName,
		metadata.Pairs("authorization", "Bearer "+t.Credential), load.Reused, connectionsOfVisit)
	if err != nil {
		return nil, err
	}
	return &prompter{
		target: t, seed: o.Seed, shortest: o.Shortest, longest: o.Longest, rpc: rpc,
		// A connection for each: one that was kept may be closed by the server just as
		// the next request is written to it, and these clients never try again.
		web: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}},
	}, nil
}

func (p *prompter) close() { p.rpc.Close() }

// prompt is one arrival: one generation, in one of three protocols.
func (p *prompter) prompt(ctx context.Context, a load.Arrival) load.Verdict {
	random := rand.New(rand.NewPCG(p.seed, uint64(a.Number))) // reproducible on purpose
	takes := p.shortest + rand.N(p.longest-p.shortest+1)
	asked := prompt{
		words: max(1, int(takes/wordEvery)),
		// The sandbox finds both in the text. The number makes every prompt another
		// one: an answer that was kept proves nothing.
		text: fmt.Sprintf("Tell me story %d. [[tokens %d]] [[fault slow; delay=%s]]", random.Uint64(), max(1, int(takes/wordEvery)), wordEvery),
	}
	d := []dialect{openAI, anthropic}[random.IntN(2)]
	if random.IntN(3) == 0 {
		return p.overRPC(ctx, d.model, asked)
	}
	return p.overHTTP(ctx, d, asked)
}

// prompt is what a model is asked.
type prompt struct {
	text  string
	words int
}

// maxTokens is more than the answer has.
func (p prompt) maxTokens() int { return p.words + 16 }

// overRPC is a generation over gRPC.
func (p *prompter) overRPC(ctx context.Context, model string, asked prompt) load.Verdict {
	stream, err := p.rpc.Open(ctx, &llmv1.StreamGenerateRequest{Prompt: &llmv1.Prompt{
		Model: model, MaxTokens: int32(asked.maxTokens()),
		Messages: []*llmv1.Message{{Role: llmv1.Role_ROLE_USER, Parts: []*llmv1.Part{{Kind: &llmv1.Part_Text{Text: asked.text}}}}},
	}})
	if err != nil {
		return load.Verdict{Failure: load.Exchange{Err: err}.Failure()}
	}
	defer stream.Close()
	var told telling
	for {
		exchange := stream.Next()
		if told.ended && errors.Is(exchange.Err, io.ErrUnexpectedEOF) { // after Done there is nothing to come
			return load.Verdict{Failure: told.judge(asked)}
		}
		if failure := exchange.Failure(); failure != nil {
			return load.Verdict{Failure: failure}
		}
		var message llmv1.StreamGenerateResponse
		if err := proto.Unmarshal(exchange.Body, &message); err != nil {
			return load.Verdict{Failure: load.Wrong("a message cannot be read: " + err.Error())}
		}
		if done := message.GetDone(); done != nil {
			told.ended, told.finish = true, done.GetFinishReason().String()
		}
		told.text.WriteString(message.GetText())
	}
}

// overHTTP is a generation in a provider's own protocol, as its SDK would ask.
func (p *prompter) overHTTP(ctx context.Context, d dialect, asked prompt) load.Verdict {
	body, err := json.Marshal(d.request(asked))
	if err != nil {
		return load.Verdict{Failure: load.Exchange{Err: err}.Failure()}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.target.HTTP+d.path, strings.NewReader(string(body)))
	if err != nil {
		return load.Verdict{Failure: load.Exchange{Err: err}.Failure()}
	}
	request.Header.Set("Content-Type", "application/json")
	d.authenticate(request.Header, p.target.Credential)
	response, err := p.web.Do(request)
	if err != nil {
		return load.Verdict{Failure: load.Exchange{Err: err}.Failure()}
	}
	defer response.Body.Close()
	version := response.Header.Get("Holdfast-Version")
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<12)) // as much as there is
		return load.Verdict{Version: version, Failure: &load.Failure{Kind: fmt.Sprint("http ", response.StatusCode), Detail: d.path + ": " + string(said)}}
	}
	var told telling
	if err := events(response.Body, func(name string, data []byte) error { return d.read(&told, name, data) }); err != nil {
		return load.Verdict{Version: version, Failure: failureOf(err)}
	}
	if !told.ended {
		return load.Verdict{Version: version, Failure: load.Exchange{Err: fmt.Errorf("%s was cut off after %q: %w", d.path, tail(told.text.String()), io.ErrUnexpectedEOF)}.Failure()}
	}
	return load.Verdict{Version: version, Failure: told.judge(asked)}
}

// telling is what came of a generation.
type telling struct {
	text   strings.Builder
	finish string // why it is over, as the protocol says it
	ended  bool   // as the protocol ends
}

// finishes are the words for an answer that was written to its end.
var finishes = map[string]bool{"FINISH_REASON_STOP": true, "stop": true, "end_turn": true}

func (t *telling) judge(asked prompt) *load.Failure {
	switch words := len(strings.Fields(t.text.String())); {
	case !finishes[t.finish]:
		return load.Wrong(fmt.Sprintf("it is over because of %q, after %q", t.finish, tail(t.text.String())))
	case words < asked.words/3: // a word may be several tokens
		return load.Wrong(fmt.Sprintf("%d words came of %d tokens", words, asked.words))
	}
	return nil
}

// tail is the end of a text, for a message.
func tail(text string) string { return text[max(0, len(text)-40):] }
