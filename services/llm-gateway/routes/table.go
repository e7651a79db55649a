package routes

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Table is all that one version of the file says. It never changes: a request
// takes the [Source]'s current one and keeps to it to its end.
type Table struct {
	// Version is the start of the SHA-256 of the file's bytes, in hex: what two
	// replicas compare. A secret that changed does not change it.
	Version string
	// Providers by name, but for those that were dropped.
	Providers map[string]*Provider
	// Routes in the order of the file. One of several models whose chain passes
	// the client's model on is there once for each model, under one name.
	Routes []*Route
	// Budgets in the order of the file; [Table.BudgetsOf] picks a tenant's.
	Budgets []Budget
	// Limits in the order of the file; [Table.LimitOf] picks a tenant's.
	Limits []Limit
	// Dropped says what of the file is not in force, and why.
	Dropped []Dropped

	models  map[string]map[string]*Route // tenant or "*", then model
	secrets []string                     // files that keys come from
	file    string                       // its name in mistakes
}

// Provider is somebody who answers requests, at one address and in one protocol.
type Provider struct {
	// Name is what routes and prices call it.
	Name string
	// Protocol is what it speaks.
	Protocol wire.Protocol
	// BaseURL is what its SDK would be given, without a slash at the end:
	// https://api.openai.com/v1, https://api.anthropic.com.
	BaseURL string
	// Keys are those that have a secret, in the order of the file; at least one.
	Keys []Key
	// MaxTokensField is the member of an OpenAI request that bounds its answer
	// when a bound has to be added: max_completion_tokens, or max_tokens for
	// compatible servers that know only the older name.
	MaxTokensField string
	// Headers are sent with every request. None of them is a credential.
	Headers map[string]string
	// Lookup is the URL at which what became of a request can be asked, with
	// {id} where the request's id belongs; "" if the provider has no such thing.
	Lookup string
	// MaxConcurrent is how many requests may be under way over all its keys, in
	// one replica; 0 for no bound but those of its keys.
	MaxConcurrent int
	// Line is where the file has it.
	Line int
}

// Key is one credential of a provider, with what the provider lets it do. The
// limits hold in one replica: see package limits.
type Key struct {
	// Name is what the ledger, metrics and errors call it.
	Name string
	// Secret is what the provider knows it by.
	Secret Secret
	// RequestsPerMinute and TokensPerMinute are the provider's rate limits; 0
	// for none that is known.
	RequestsPerMinute, TokensPerMinute int64
	// MaxConcurrent is how many requests it may have under way, and MaxQueued
	// how many may wait for that.
	MaxConcurrent, MaxQueued int
}

// Route is a chain of targets behind the names that clients ask for.
type Route struct {
	// Name is what the ledger, metrics and headers call it.
	Name string
	// Models are the names that clients ask for.
	Models []string
	// Tenants are who may ask; "*" is everybody.
	Tenants []string
	// Chain is who is asked, the first one first; at least one.
	Chain []Link
	// Timeouts bound a request.
	Timeouts Timeouts
	// Attempts is how often a request may be sent, over all links and keys.
	Attempts int
	// MaxTokens bounds the answer of a client that says no bound.
	MaxTokens int64
	// MaxTokensCap is the highest bound that a client gets; what it says above
	// is lowered. At least MaxTokens.
	MaxTokensCap int64
	// Disconnect is what becomes of an answer whose client left.
	Disconnect Disconnect
	// DrainBound is how long an answer is read on after its client left, if
	// Disconnect is Drain; otherwise 0.
	DrainBound time.Duration
	// Line is where the file has it.
	Line int
}

// Link is a target of a chain.
type Link struct {
	// Provider is who is asked.
	Provider *Provider
	// Model is what it is asked for; never empty.
	Model string
	// Keys are those of the provider that may be used, the first one first; at
	// least one.
	Keys []Key
	// Line is where the file has it.
	Line int
}

// Timeouts bound a request, each by itself.
type Timeouts struct {
	// Connect bounds making a connection, TLS included, for each attempt.
	Connect time.Duration
	// FirstToken bounds the wait for the first content of a stream, for each
	// attempt. An answer that is not streamed comes whole, and Total bounds it.
	FirstToken time.Duration
	// Idle bounds the silence between two chunks, from the first content on.
	Idle time.Duration
	// Total bounds the request with all its attempts and its stream.
	Total time.Duration
}

// Disconnect is what becomes of an answer whose client left.
type Disconnect uint8

// What a route may do about clients that leave.
const (
	// Cancel breaks the request off upstream, which ends the bill there as soon
	// as the provider notices. What was used is then an estimate.
	Cancel Disconnect = iota + 1
	// Drain reads on for DrainBound, so that an answer that is nearly complete
	// is counted exactly, and then cancels.
	Drain
	// Detach reads to the end, within Timeouts: the answer is stored for
	// whoever comes back with the same idempotency key.
	Detach
)

var disconnects = map[string]Disconnect{"cancel": Cancel, "drain": Drain, "detach": Detach}

// String returns the name that the file uses.
func (d Disconnect) String() string {
	for name, value := range disconnects {
		if value == d {
			return name
		}
	}
	return "unknown"
}

// Dropped is something of the file that is not in force: an optional provider
// without a key, or a route that has nobody left to ask.
type Dropped struct {
	// What it is, such as `provider "anthropic"`.
	What string
	// Why it is not in force.
	Why string
	// Line is where the file has it.
	Line int
}

// Model is a name that a tenant may ask for.
type Model struct {
	// Name is what is asked for.
	Name string
	// Route is what answers.
	Route *Route
}

// everyone is who a route, budget or limit is for if it names nobody.
const everyone = "*"

// Route returns what answers a tenant's request for a model: the route that
// names the tenant before one for everybody.
func (t *Table) Route(tenant, model string) (*Route, bool) {
	if route, ok := t.models[tenant][model]; ok {
		return route, true
	}
	route, ok := t.models[everyone][model]
	return route, ok
}

// Models returns what a tenant may ask for, by name.
func (t *Table) Models(tenant string) []Model {
	offered := maps.Clone(t.models[everyone])
	if offered == nil {
		offered = map[string]*Route{}
	}
	maps.Copy(offered, t.models[tenant])
	var found []Model
	for name, route := range offered {
		found = append(found, Model{Name: name, Route: route})
	}
	slices.SortFunc(found, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	return found
}
