package stripetest

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

// listing is an answer with many objects.
type listing struct {
	Object  string `json:"object"`
	URL     string `json:"url"`
	HasMore bool   `json:"has_more"`
	Data    []any  `json:"data"`
}

func list(object, path string, data []any, more bool) listing {
	if data == nil {
		data = []any{}
	}
	return listing{Object: object, URL: path, HasMore: more, Data: data}
}

func (s *Server) listIntents(_ string, form url.Values) (int, any) {
	var matching []*PaymentIntent
	for i := len(s.intents) - 1; i >= 0; i-- { // newest first
		if inRange(form, s.intents[i].Created) {
			matching = append(matching, s.intents[i])
		}
	}
	data, more := page(s, matching, form, func(p *PaymentIntent) string { return p.ID })
	var items []any
	for _, intent := range data {
		items = append(items, intent)
	}
	return http.StatusOK, list("list", "/v1/payment_intents", items, more)
}

// inRange says whether an object created then is asked for.
func inRange(form url.Values, created int64) bool {
	for name, fits := range map[string]func(bound int64) bool{
		"created[gte]": func(bound int64) bool { return created >= bound },
		"created[gt]":  func(bound int64) bool { return created > bound },
		"created[lte]": func(bound int64) bool { return created <= bound },
		"created[lt]":  func(bound int64) bool { return created < bound },
	} {
		if text := form.Get(name); text != "" {
			bound, err := strconv.ParseInt(text, 10, 64)
			if err != nil || !fits(bound) {
				return false
			}
		}
	}
	return true
}

// page cuts out what follows starting_after, at most limit.
func page[T any](s *Server, all []T, form url.Values, id func(T) string) (data []T, more bool) {
	if after := form.Get("starting_after"); after != "" {
		for i, item := range all {
			if id(item) == after {
				all = all[i+1:]
				break
			}
		}
	}
	limit := 10
	if n, err := strconv.Atoi(form.Get("limit")); err == nil {
		limit = n
	}
	limit = min(limit, s.page)
	if len(all) > limit {
		return all[:limit], true
	}
	return all, false
}

var byMetadata = regexp.MustCompile(`^metadata\['([^']+)'\]:'([^']+)'$`)

// searchIntents knows one form of query, and only what was indexed.
func (s *Server) searchIntents(_ string, form url.Values) (int, any) {
	if s.unsearchable {
		return http.StatusBadRequest, invalid("", "", "Search is not available to this account")
	}
	wanted := byMetadata.FindStringSubmatch(form.Get("query"))
	if wanted == nil {
		return http.StatusBadRequest, invalid("", "query", "The query is not one that this server plays")
	}
	var items []any
	for _, intent := range s.intents {
		if known := intent.indexed; known != nil && known.Metadata[wanted[1]] == wanted[2] {
			items = append(items, known)
		}
	}
	return http.StatusOK, list("search_result", "/v1/payment_intents/search", items, false)
}

// Requests counts what was asked so far: writes, and questions.
func (s *Server) Requests() (writes, questions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts, s.gets
}
