package local

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// probes ask on a new connection each time, as kubelets do.
var probes = &http.Client{
	Timeout:   time.Second,
	Transport: &http.Transport{DisableKeepAlives: true},
}

// Ready asks a readiness URL once.
func Ready(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	response, err := probes.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}

// AwaitReady waits until url answers 200; it gives up when ctx ends or the
// process exits.
func AwaitReady(ctx context.Context, url string, process *Process) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !Ready(ctx, url) {
		select {
		case <-tick.C:
		case <-process.Exited():
			return fmt.Errorf("it ended before it was ready (%s)", ending(process.Err()))
		case <-ctx.Done():
			return fmt.Errorf("it was not ready in time: %w", context.Cause(ctx))
		}
	}
	return nil
}
