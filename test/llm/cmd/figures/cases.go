package main

import (
	"fmt"
	"strings"
	"time"
)

// conversation is a request that is sent.
type conversation struct {
	model  string
	prompt int // bytes of it, beside what is always there
	tokens int // of the answer
	stream bool
}

// bytes are the request in either protocol.
func (c conversation) bytes() []byte {
	prompt := strings.Repeat("Tell me more, and then some. ", c.prompt/29)
	return fmt.Appendf(nil, `{"model":%q,"max_tokens":1000,"stream":%t,"messages":[{"role":"user","content":"%s[[tokens %d]]"}]}`,
		c.model, c.stream, prompt, c.tokens)
}

// measured is a case.
type measured struct {
	name    string
	clients int
	said    conversation
	// pause is how long the providers take for each token.
	pause time.Duration
	// share is which part of the plan's requests it takes: it is so much dearer.
	share int
	// aims are what CPU of the gateway it should stay under, for a request, with
	// the ledger and without; zero: there is none.
	aim, aimCareless time.Duration
}

// Numbers of pieces that streams have, so that a piece and a request can be told
// apart: (long - short) / (longPieces - shortPieces).
const (
	shortPieces = 10
	longPieces  = 210
)

// The names of the cases.
const (
	smallRequest = "a small request"
	longPrompt   = "a prompt of 100 KB"
	shortStream  = "a stream of 10 pieces"
	longStream   = "a stream of 210 pieces"
	shortTrickle = "a stream of 10 pieces, one every 5 ms"
	longTrickle  = "a stream of 210 pieces, one every 5 ms"
)

// cases are all that is measured.
func cases() []measured {
	small := conversation{model: "sandbox-small", tokens: 20}
	long := small
	long.prompt = 100_000
	streamOf := func(pieces int) conversation {
		return conversation{model: "sandbox-small", tokens: pieces, stream: true}
	}
	const trickle = 5 * time.Millisecond
	return []measured{
		{name: smallRequest, clients: 1, said: small, share: 2},
		{name: smallRequest, clients: 32, said: small, share: 1, aim: 150 * time.Microsecond, aimCareless: 80 * time.Microsecond},
		{name: smallRequest, clients: 256, said: small, share: 1},
		{name: longPrompt, clients: 32, said: long, share: 4, aim: 400 * time.Microsecond},
		{name: shortStream, clients: 32, said: streamOf(shortPieces), share: 4},
		{name: longStream, clients: 32, said: streamOf(longPieces), share: 16},
		{name: shortTrickle, clients: 32, said: streamOf(shortPieces), share: 10, pause: trickle},
		{name: longTrickle, clients: 32, said: streamOf(longPieces), share: 40, pause: trickle},
	}
}

// aimOfPiece is what a piece of a stream should cost at most.
const aimOfPiece = 20 * time.Microsecond

// aimOfMemory is what the gateway should hold at most, in bytes.
const aimOfMemory = 60_000_000
