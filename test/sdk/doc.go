// Package sdk points the official SDKs of OpenAI and Anthropic at what speaks
// their protocols here. It is a module of its own, so that neither is in the
// platform's go.mod.
//
// An SDK is a stricter reader than a test of ours: it decodes into the types that
// its provider published, puts streams together again, and retries as real
// clients do. The same tests run against the sandbox, which plays the providers,
// and against a gateway, where one is named:
//
//	HOLDFAST_SDK_GATEWAY_URL=http://127.0.0.1:8080 HOLDFAST_SDK_GATEWAY_KEY=hf_… go test ./...
//
// It must offer the models gpt-sandbox, claude-sandbox and sandbox-reasoning of
// a sandbox under their names, each with the sandbox's provider first in its
// chain. It has tests only.
package sdk
