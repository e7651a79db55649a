// Package sdk points the official SDKs of OpenAI and Anthropic at what speaks
// their protocols here. It is a module of its own, so that neither is in the
// platform's go.mod.
//
// An SDK is a stricter reader than a test of ours: it decodes into the types that
// its provider published, puts streams together again, and retries as real
// clients do. The same tests run against the sandbox, which plays the providers,
// and against the gateway in front of it: all that a client changes is the base URL
// and the key. It has tests only.
package sdk
