package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Streamer opens streams of answers to one request, in one way.
type Streamer interface {
	// Open begins a stream that ends with ctx at the latest. Whoever opened it
	// closes it.
	Open(ctx context.Context, request proto.Message) (Stream, error)
	// Name says how, for reports.
	Name() string
	// Close closes every connection.
	Close()
}

// Stream is one stream.
type Stream interface {
	// Next returns the next message, as an exchange that is OK, or how the stream
	// ended, as one that is not. A stream that ends without a reason is an error
	// of the transport.
	Next() Exchange
	// Close leaves the stream.
	Close()
}

// errEnded is a stream that ended as if it were complete.
var errEnded = fmt.Errorf("the stream ended without a reason: %w", io.ErrUnexpectedEOF)

// Open begins a stream over gRPC.
func (g *GRPC) Open(ctx context.Context, message proto.Message) (Stream, error) {
	request, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	conn, release, err := g.connection()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, g.metadata.Copy()))
	s := &grpcStream{close: func() { cancel(); release() }}
	s.ClientStream, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, g.method, grpc.ForceCodecV2(rawCodec{}))
	if err == nil {
		err = s.SendMsg(request)
	}
	if errors.Is(err, io.EOF) {
		err = nil // it has ended already: receiving tells how
	}
	if err == nil {
		err = s.CloseSend()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	return s, nil
}

type grpcStream struct {
	grpc.ClientStream
	close func()
}

// Next receives.
func (s *grpcStream) Next() Exchange {
	var answer []byte
	err := s.RecvMsg(&answer)
	switch {
	case errors.Is(err, io.EOF):
		return Exchange{Err: errEnded}
	case err == nil:
		return Exchange{OK: true, Code: "grpc " + codeName(codes.OK), Body: answer}
	}
	exchange := Exchange{Code: "grpc " + codeName(status.Code(err))}
	exchange.readStatus(err)
	return exchange
}

// Close leaves the stream.
func (s *grpcStream) Close() { s.close() }

// Open begins a stream of server-sent events.
func (h *HTTP) Open(ctx context.Context, message proto.Message) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	request, err := h.request(ctx, message)
	if err != nil {
		cancel()
		return nil, err
	}
	for name, values := range h.header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := h.clients[h.next.Add(1)%uint64(len(h.clients))].Do(request) //nolint:bodyclose // Close does
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	return &eventStream{response, bufio.NewReader(response.Body), cancel}, nil
}

type eventStream struct {
	*http.Response
	from   *bufio.Reader
	cancel context.CancelFunc
}

// Next reads the next event that has data.
func (s *eventStream) Next() Exchange {
	if s.StatusCode != http.StatusOK {
		body, err := io.ReadAll(s.from)
		if err != nil {
			return Exchange{Err: err}
		}
		refusal := Exchange{Code: fmt.Sprint("http ", s.StatusCode), Body: body}
		refusal.readProblem()
		return refusal
	}
	ends := false
	exchange := Exchange{OK: true, Code: "http 200", Version: s.Header.Get("Holdfast-Version")}
	for {
		line, err := s.from.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = errEnded
		}
		if err != nil {
			return Exchange{Err: err}
		}
		field, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(": "))
		switch {
		case string(field) == "event" && string(value) == "end":
			ends = true
		case string(field) == "data":
			exchange.Body = value
		case len(field) > 0 || exchange.Body == nil:
		case ends:
			exchange.OK, exchange.Code = false, "http event end"
			exchange.readProblem()
			return exchange
		default:
			return exchange
		}
	}
}

// Close leaves the stream.
func (s *eventStream) Close() {
	s.cancel()
	s.Body.Close()
}
