package main

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// proxyCommand has this command be a proxy: see serveProxy.
const proxyCommand = "proxy"

// serveProxy is the yardstick: the standard library's reverse proxy, which looks at
// nothing and knows nothing, listening there and passing on to the providers. What
// it takes is what any gateway takes that is built of net/http.
func serveProxy(address, providers string) error {
	to, err := url.Parse(providers)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true},
		FlushInterval: -1, // at once
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
