package resilience

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
)

// TestAnOptionalKeyIsNeededToSendAgain: without it a repeat is another request, and
// costs as much.
func TestAnOptionalKeyIsNeededToSendAgain(t *testing.T) {
	policies, err := policy.Load(llmv1.File_holdfast_llm_v1_llm_proto.Services().Get(0))
	require.NoError(t, err)
	generate := methodsOf(Defaults(), policies)[llmv1.LLMGatewayService_Generate_FullMethodName]
	require.False(t, generate.mayRepeat(t.Context()))
	require.True(t, generate.mayRepeat(metadata.AppendToOutgoingContext(t.Context(), keyMetadata, "key")))
}
