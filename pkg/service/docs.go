package service

import (
	"net/http"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/service/apidocs"
	"github.com/holdfast-dev/holdfast/proto/openapi"
)

// withDocs adds /docs and /openapi.json in development.
func withDocs(gateway http.Handler, environment config.Environment) http.Handler {
	if environment != config.Development {
		return gateway
	}
	docs := apidocs.Handler(openapi.JSON, auth.DevelopmentKey)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not a ServeMux: it would redirect paths that the gateway must answer.
		if r.Method == http.MethodGet && (r.URL.Path == "/docs" || r.URL.Path == "/openapi.json") {
			docs.ServeHTTP(w, r)
			return
		}
		gateway.ServeHTTP(w, r)
	})
}
