// Package llm holds the LLM gateway to its promises from outside: the service as it
// is, over real HTTP and gRPC, on a real Postgres, before the sandbox's providers and
// their faults. What its packages promise each is tested beside them.
package llm
