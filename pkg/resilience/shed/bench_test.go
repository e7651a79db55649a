package shed

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// BenchmarkCall measures what shedding adds to a call: the same call over a
// loopback connection with and without, in turns of a few hundred, so that
// whatever else the machine does hits both.
//
//	ratio        time of a call with shedding, against one without
//	added-ns     the difference
func BenchmarkCall(b *testing.B) {
	idle := worker{work: func(context.Context) error { return nil }}
	s := newTest(b, DefaultConfig())
	with, without := serve(b, s, idle), serve(b, nil, idle)
	one := func(conn *grpc.ClientConn) {
		if err := invoke(b.Context(), conn, critical); err != nil {
			b.Fatal(err)
		}
	}
	for range 1000 {
		one(with)
		one(without)
	}
	const turn = 250
	var spent [2]time.Duration
	calls := 0
	b.ResetTimer()
	for calls < b.N {
		for i, conn := range []*grpc.ClientConn{without, with} {
			began := time.Now()
			for range turn {
				one(conn)
			}
			spent[i] += time.Since(began)
		}
		calls += turn
	}
	b.ReportMetric(float64(spent[1])/float64(spent[0]), "ratio")
	b.ReportMetric(float64(spent[1]-spent[0])/float64(calls), "added-ns")
}

// BenchmarkInterceptor measures the interceptor by itself: a call that is let
// in, one that is refused at once, and for comparison the interceptor that gives
// a call its deadline.
func BenchmarkInterceptor(b *testing.B) {
	info := &grpc.UnaryServerInfo{FullMethod: critical}
	handler := func(context.Context, any) (any, error) { return emptyAnswer, nil }
	run := func(b *testing.B, interceptor grpc.UnaryServerInterceptor, after func(error)) {
		ctx := policy.NewContext(b.Context(), policy.Method{})
		b.ReportAllocs()
		for b.Loop() {
			_, err := interceptor(ctx, emptyAnswer, info, handler)
			after(err)
		}
	}
	b.Run("let in", func(b *testing.B) {
		run(b, UnaryServerInterceptor(newTest(b, DefaultConfig())), func(error) {})
	})
	b.Run("refused", func(b *testing.B) {
		s := newTest(b, Config{Enabled: true, Min: 1, Initial: 1, Max: 1})
		if _, err := s.enter(b.Context(), s.methods[criticalPlus]); err != nil {
			b.Fatal(err)
		}
		run(b, UnaryServerInterceptor(s), func(error) {})
	})
	b.Run("refused, with its status", func(b *testing.B) {
		s := newTest(b, Config{Enabled: true, Min: 1, Initial: 1, Max: 1})
		if _, err := s.enter(b.Context(), s.methods[criticalPlus]); err != nil {
			b.Fatal(err)
		}
		run(b, UnaryServerInterceptor(s), func(err error) { apierror.From(err).GRPCStatus() })
	})
	b.Run("deadline, for comparison", func(b *testing.B) {
		run(b, policies(b).UnaryServerInterceptor(), func(error) {})
	})
}

// BenchmarkContended is many goroutines at the door at once.
func BenchmarkContended(b *testing.B) {
	s := newTest(b, Config{Enabled: true, Min: 16, Initial: 1024, Max: 1024})
	interceptor := UnaryServerInterceptor(s)
	info := &grpc.UnaryServerInfo{FullMethod: critical}
	handler := func(context.Context, any) (any, error) { return emptyAnswer, nil }
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = interceptor(b.Context(), emptyAnswer, info, handler)
		}
	})
}
