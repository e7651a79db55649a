package resilience

import (
	"context"

	"google.golang.org/grpc"
)

// Fallback is a call option with what to answer when a unary call has failed for
// good: into is the caller's message, err why. It returns nil if it has filled
// the message, or the error to fail with. Use it for what is better than an
// error, such as yesterday's value; never to pretend that a write happened.
func Fallback(answer func(ctx context.Context, into any, err error) error) grpc.CallOption {
	return fallback{answer: answer}
}

type fallback struct {
	grpc.EmptyCallOption
	answer func(ctx context.Context, into any, err error) error
}

func fallBack(ctx context.Context, opts []grpc.CallOption, into any, err error) error {
	for _, opt := range opts {
		if f, ok := opt.(fallback); ok {
			return f.answer(ctx, into, err)
		}
	}
	return err
}
