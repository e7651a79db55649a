package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// openStreams holds n connections with one open stream each.
func openStreams(ctx context.Context, address string, n int, length time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range n {
		conn, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
		if err != nil {
			return fmt.Errorf("opening streams: %w", err)
		}
		defer conn.Close()
		watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return fmt.Errorf("opening streams: %w", err)
		}
		if _, err := watch.Recv(); err != nil {
			return fmt.Errorf("opening streams: %w", err)
		}
	}
	return sleep(ctx, length)
}

// sendBodies sends n requests of nearly the largest size at once, again and
// again. They are refused, after all of them was read: a note has a bound.
func sendBodies(ctx context.Context, address string, n int, length time.Duration) error {
	body := []byte(`{"lines":[{"product_id":"espresso-beans","quantity":1}],"payment_method":"pm_card_ok","shipping_note":"` +
		strings.Repeat("x", 1_000_000) + `"}`)
	end := time.Now().Add(length)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	var refused atomic.Int64
	senders, ctx := errgroup.WithContext(ctx)
	for range n {
		senders.Go(func() error {
			for time.Now().Before(end) {
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/orders", bytes.NewReader(body))
				if err != nil {
					return err
				}
				request.Header = http.Header{
					"Authorization": {credential}, "Content-Type": {"application/json"}, "Idempotency-Key": {uuid.NewString()},
				}
				response, err := client.Do(request)
				if err != nil {
					return fmt.Errorf("sending large bodies: %w", err)
				}
				_, _ = io.Copy(io.Discard, response.Body) // so that the connection is used again
				response.Body.Close()
				if response.StatusCode == http.StatusBadRequest {
					refused.Add(1)
				}
			}
			return nil
		})
	}
	if err := senders.Wait(); err != nil {
		return err
	}
	if refused.Load() == 0 {
		return fmt.Errorf("sending large bodies: none was read to its end and refused for what is in it")
	}
	return nil
}
