// Package llm plays providers of language models: the two protocols that
// clients speak, over real HTTP, with answers that depend on nothing but the
// request, every way to fail that a provider has, and a durable invoice of what
// it would have billed.
//
// Because the invoice is independent of the platform's ledger, what the platform
// believes that it spent can be compared with what the world charged. It shares
// no code with the gateway for the same reason: a bug there must not be mirrored
// here. It is no model: it says words of one syllable.
//
// # Three providers
//
// Each [Provider] has a base path of its own: OpenAI and Anthropic as they
// describe themselves, and Compatible, which is the OpenAI protocol as servers
// of open models speak it, with their quirks: only max_tokens, the role in every
// chunk, no request id, no rate limit headers, errors without a code.
//
// # What decides how a request fails
//
// The first of these that has a fault: the Sandbox-Fault header of the request,
// a [[fault …]] in the text of its last user message (see [Fault] for the
// syntax; it passes through whatever stands in between), the script set with
// POST /llm/faults, and the name of the key (see [KeyOutOfCredit]).
//
// # What an answer says
//
// Words drawn from a hash of the model, the prompt and the seed. Directives in
// the last user message ask for more:
//
//	[[tokens 50]]        an answer of so many tokens
//	[[say some text]]    this answer; it may hold anything but ]]
//	[[call weather]]     a call of that tool, with arguments that fit its schema
//	[[call weather {…}]] a call with these arguments; several of them, several calls
//	[[refuse]]           a refusal, in the protocol's way
//	[[fault …]]          a fault
//
// A tool is also called where tool_choice asks for one, and where the user
// mentions its name; never after a tool's result. A schema of structured output
// is met by a small value that fits.
//
// # Tokens
//
// A token is four bytes of a word or its end, a word being what white space
// separates, and no rune being cut; a message costs four more, an image 85, and
// tools and their calls what their JSON does. Both the count of a
// prompt and the length of an answer follow that rule.
package llm
