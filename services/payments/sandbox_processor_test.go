package payments

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func card(token string) ChargeRequest {
	return ChargeRequest{Payment: "payment-1", Description: "order-1", PaymentMethod: token, Amount: euros(1000)}
}

// sandboxRig holds the sandbox to the contract of every processor.
func sandboxRig(t *testing.T) *rig {
	s := startSandbox(t)
	l := startLine(t, s.url)
	p, err := NewSandboxProcessor(l.url, rigPatience, time.Hour, nil)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	scripted := func(t *testing.T, script string, send func()) {
		t.Helper()
		s.script(t, script)
		send()
		s.script(t, `{}`)
	}
	return &rig{
		Processor: p, line: l,
		card: "pm_card_ok", declines: "pm_card_insufficient_funds", code: "insufficient_funds",
		done: func(t *testing.T, kind Kind) int { return s.succeeded(t, kind) },
		unfinished: func(t *testing.T, send, look func()) {
			scripted(t, `{"rules":[{"kind":"settle_later","delay":"2s"}]}`, send)
			look()
		},
		forgotten: func(t *testing.T, send func()) { scripted(t, `{"rules":[{"kind":"forget_key"}]}`, send) },
	}
}

func TestAWrongURLIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "sandbox:8080", "ftp://sandbox", "http://"} {
		_, err := NewSandboxProcessor(url, time.Second, time.Hour, nil)
		require.ErrorContains(t, err, "HOLDFAST_SANDBOX_URL", url)
	}
}
