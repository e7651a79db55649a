package service

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

// The gateway knows which methods a path takes, but does not tell. So it is
// asked by rehearsal: a request that is routed and goes no further.

type rehearsalKey struct{}

// rehearsal notes whether a request found a route.
type rehearsal struct{ found bool }

func rehearsing(ctx context.Context) bool { return ctx.Value(rehearsalKey{}) != nil }

// rehearse stands before every route and stops rehearsals there.
func rehearse(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, pathParams map[string]string) {
		if noted, ok := r.Context().Value(rehearsalKey{}).(*rehearsal); ok {
			noted.found = true
			return
		}
		next(w, r, pathParams)
	}
}

// requestMethods are the HTTP methods that an API may have.
var requestMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// allowed returns the methods that the path of a request takes, which a 405 must
// tell (RFC 9110, section 15.5.6).
func allowed(ctx context.Context, mux *runtime.ServeMux, r *http.Request) []string {
	var methods []string
	for _, method := range requestMethods {
		var noted rehearsal
		other := r.Clone(context.WithValue(ctx, rehearsalKey{}, &noted))
		other.Method, other.Body = method, http.NoBody
		mux.ServeHTTP(unheard{}, other)
		if noted.found {
			methods = append(methods, method)
		}
	}
	return methods
}

// unheard is where the answer to a rehearsal goes.
type unheard struct{}

// Header returns headers that go nowhere.
func (unheard) Header() http.Header { return http.Header{} }

// Write discards.
func (unheard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader does nothing.
func (unheard) WriteHeader(int) {}
