// Command llm-gateway serves the API of the LLM gateway. `llm-gateway -h` lists
// what else it does.
package main

import (
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
)

func main() { service.Main(llmgateway.Definition) }
