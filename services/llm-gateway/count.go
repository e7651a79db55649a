package llmgateway

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// countTokens has the provider count the tokens of a request. It costs nothing, so
// the ledger is not asked.
func (g *gateway) countTokens(w http.ResponseWriter, r *http.Request, body []byte) error {
	request, err := wire.Scan(wire.Anthropic, body)
	if err != nil {
		return err
	}
	ctx := r.Context()
	route, ok := g.routes.Current().Route(auth.Tenant(ctx), request.Model)
	if !ok {
		return noModel(request.Model)
	}
	answer, err := g.count(ctx, route, request, r.Header)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(dispatch.PathHeader, dispatch.FormatPath(answer.Path))
	w.Header().Set("Request-Id", w.Header().Get("X-Request-Id"))
	_, err = w.Write(answer.Body)
	return err
}

// count asks the providers of a route that speak Anthropic's protocol, the only one
// that has a way to ask.
func (g *gateway) count(ctx context.Context, route *routes.Route, request wire.Request, header http.Header) (*dispatch.Answer, error) {
	request.Stream = false
	return g.dispatcher.Do(ctx, dispatch.Request{
		ID: uuid.NewString(), Route: route, Wire: request, Path: "/v1/messages/count_tokens", Opaque: true, Header: header,
	})
}
