package llmgateway

import (
	"bytes"
	"context"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/chat"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// api is the gateway by gRPC.
type api struct {
	llmv1.UnimplementedLLMGatewayServiceServer
	*gateway
}

// contentTypeProto is how answers of the gRPC API are kept for a repeat.
const contentTypeProto = "application/x-protobuf"

// Generate answers as a whole.
func (a *api) Generate(ctx context.Context, r *llmv1.GenerateRequest) (*llmv1.GenerateResponse, error) {
	ask, err := a.prompt(ctx, r.GetPrompt(), false)
	if err != nil {
		return nil, typed(err)
	}
	x, err := a.send(ctx, ask)
	if replay, ok := before(err); ok {
		response := &llmv1.GenerateResponse{}
		if err := proto.Unmarshal(replay.Body, response); err != nil {
			return nil, err
		}
		return response, sayReplayed(ctx)
	}
	if err != nil {
		return nil, typed(err)
	}
	said, err := chat.Read(x.Protocol, x.Body)
	if err != nil {
		x.close(ctx, x.Outcome, nil)
		return nil, apierror.New(apierror.ReasonDependencyUnavailable, "the provider's answer cannot be read", apierror.WithCause(err))
	}
	response := &llmv1.GenerateResponse{
		Id: ask.id.String(), Parts: partsOf(said.Parts), FinishReason: finishOf(said.Finish),
		Usage: x.usageOf(x.Outcome), Served: x.served(),
	}
	x.close(ctx, x.Outcome, x.storedMessage(response))
	return response, nil
}

// StreamGenerate answers as the answer comes.
func (a *api) StreamGenerate(r *llmv1.StreamGenerateRequest, stream grpc.ServerStreamingServer[llmv1.StreamGenerateResponse]) error {
	ctx := stream.Context()
	ask, err := a.prompt(ctx, r.GetPrompt(), true)
	if err != nil {
		return typed(err)
	}
	x, err := a.send(ctx, ask)
	if replay, ok := before(err); ok {
		if err := sayReplayed(ctx); err != nil {
			return err
		}
		return repeatMessages(replay.Body, stream)
	}
	if err != nil {
		return typed(err)
	}
	to := &messageSink{exchange: x, stream: stream, reader: chat.NewReader(x.Protocol), keeps: ask.key != ""}
	if _, err := x.follow(ctx, to); err != nil {
		return err
	}
	return stream.Send(to.done)
}

// prompt makes an ask of a prompt, in the protocol of the first provider that would
// be asked: a chain may have both.
func (a *api) prompt(ctx context.Context, p *llmv1.Prompt, stream bool) (*ask, error) {
	neutral := requestOf(p, stream)
	say := func(protocol wire.Protocol) (wire.Request, error) {
		body, err := chat.Body(protocol, neutral)
		if err != nil {
			return wire.Request{}, unsayable(err)
		}
		return wire.Scan(protocol, body)
	}
	protocol := wire.OpenAI
	if route, ok := a.routes.Current().Route(auth.Tenant(ctx), p.GetModel()); ok {
		protocol = route.Chain[0].Provider.Protocol
	}
	said, err := say(protocol)
	if err != nil {
		return nil, err
	}
	asked, err := a.ask(ctx, auth.Tenant(ctx), said, nil)
	if err != nil {
		return nil, err
	}
	asked.say = say
	fingerprint, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, err
	}
	how := "generate"
	if stream {
		how = "stream"
	}
	return asked, asked.idempotent(keyOf(ctx), []byte(how), fingerprint)
}

// keyOf is the idempotency key of a call, if it has one.
func keyOf(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, idempotency.KeyMetadata)
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func sayReplayed(ctx context.Context) error {
	return grpc.SetTrailer(ctx, metadata.Pairs(idempotency.ReplayedTrailer, "true"))
}

// messageSink is a client of the gRPC stream.
type messageSink struct {
	*exchange
	stream  grpc.ServerStreamingServer[llmv1.StreamGenerateResponse]
	reader  *chat.Reader
	done    *llmv1.StreamGenerateResponse
	keeps   bool
	all     bytes.Buffer
	tooMuch bool
}

// send passes on what an event adds to the answer. The last message is not for it:
// see follow.
func (s *messageSink) send(e dispatch.Event, _, left bool) error {
	deltas, err := s.reader.Feed(e.Event)
	if err != nil {
		return apierror.New(apierror.ReasonDependencyUnavailable, "the provider's answer cannot be read", apierror.WithCause(err))
	}
	for _, delta := range deltas {
		message := deltaOf(delta)
		if message == nil {
			continue
		}
		s.keep(message)
		if left {
			continue
		}
		if err := s.stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// ping has nothing to say: HTTP/2 has pings of its own.
func (s *messageSink) ping() error { return nil }

// kept makes the last message: it is part of what a repeat is told.
func (s *messageSink) kept() *ledger.Stored {
	said, err := s.reader.Response()
	if err != nil { // not reached: it has seen the end
		return nil
	}
	s.done = &llmv1.StreamGenerateResponse{Kind: &llmv1.StreamGenerateResponse_Done{Done: &llmv1.Done{
		Id: s.ask.id.String(), FinishReason: finishOf(said.Finish), Usage: s.usageOf(s.Stream.Outcome()), Served: s.served(),
	}}}
	s.keep(s.done)
	if !s.keeps || s.tooMuch {
		return nil
	}
	return &ledger.Stored{Status: http.StatusOK, ContentType: contentTypeProto, Stream: true, Body: s.all.Bytes()}
}

func (s *messageSink) keep(message *llmv1.StreamGenerateResponse) {
	if !s.keeps || s.tooMuch {
		return
	}
	_, err := protodelim.MarshalTo(&s.all, message)
	s.tooMuch = err != nil || s.all.Len() > maxKept
}

// repeatMessages sends a stream again.
func repeatMessages(all []byte, stream grpc.ServerStreamingServer[llmv1.StreamGenerateResponse]) error {
	reader := bytes.NewReader(all)
	for reader.Len() > 0 {
		message := &llmv1.StreamGenerateResponse{}
		if err := (protodelim.UnmarshalOptions{MaxSize: maxKept}).UnmarshalFrom(reader, message); err != nil {
			return err
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// storedMessage is what a repeat of a whole answer is told.
func (x *exchange) storedMessage(response proto.Message) *ledger.Stored {
	if x.ask.key == "" {
		return nil
	}
	body, err := proto.Marshal(response)
	if err != nil {
		return nil
	}
	return &ledger.Stored{Status: http.StatusOK, ContentType: contentTypeProto, Body: body}
}

func (x *exchange) served() *llmv1.Served {
	return &llmv1.Served{Provider: x.Attempt.Provider, Model: x.Attempt.Model, Attempts: int32(x.Attempts)}
}

func (x *exchange) usageOf(o dispatch.Outcome) *llmv1.Usage {
	return &llmv1.Usage{
		InputTokens: o.Usage.Input, CacheReadTokens: o.Usage.CacheRead, CacheWriteTokens: o.Usage.CacheWrite + o.Usage.CacheWrite1h,
		OutputTokens: o.Usage.Output, ReasoningTokens: o.Usage.Reasoning, CostNanodollars: x.price.Cost(o.Usage), Estimated: !o.Exact,
	}
}

// CountTokens counts the tokens of a prompt: the provider does where it can, and
// otherwise they are estimated so that there are no more.
func (a *api) CountTokens(ctx context.Context, r *llmv1.CountTokensRequest) (*llmv1.CountTokensResponse, error) {
	p := r.GetPrompt()
	route, ok := a.routes.Current().Route(auth.Tenant(ctx), p.GetModel())
	if !ok {
		return nil, noModel(p.GetModel())
	}
	protocol := route.Chain[0].Provider.Protocol
	body, err := chat.Body(protocol, requestOf(p, false))
	if err != nil {
		return nil, typed(unsayable(err))
	}
	if protocol == wire.Anthropic {
		if counted, ok := a.counted(ctx, route, body); ok {
			return &llmv1.CountTokensResponse{InputTokens: counted}, nil
		}
	}
	return &llmv1.CountTokensResponse{InputTokens: wire.EstimateTokens(body), UpperBound: true}, nil
}

// ListModels lists what the tenant may ask for.
func (a *api) ListModels(ctx context.Context, _ *llmv1.ListModelsRequest) (*llmv1.ListModelsResponse, error) {
	response := &llmv1.ListModelsResponse{}
	for _, m := range a.routes.Current().Models(auth.Tenant(ctx)) {
		model := &llmv1.Model{Name: m.Name, Route: m.Route.Name}
		for _, link := range m.Route.Chain {
			model.Providers = append(model.Providers, link.Provider.Name)
		}
		response.Models = append(response.Models, model)
	}
	return response, nil
}
