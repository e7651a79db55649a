// Package localport asks a process that runs on this machine: its probes, its
// drain. It is what an image without a shell and curl has in their place, and
// depends on nothing that would make the smallest of them large.
package localport

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Ask sends one request without a body to the port that a process listens on,
// and returns the status and at most 64 KiB of the answer. Address is the one the
// process was given, such as ":8081": a host that means every interface is asked
// over loopback. The error says that nobody answered.
func Ask(ctx context.Context, method, address, path string) (code int, body []byte, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, nil, fmt.Errorf("address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(host, port)+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("address %q: %w", address, err)
	}
	// A connection of its own: the process that asks is about to end.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("%s does not answer: %w", address, err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, body, nil
}
