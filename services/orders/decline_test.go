package orders

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/flags"
	"github.com/holdfast-dev/holdfast/pkg/flags/flagstest"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// rollout is a file of flags that a test turns up.
type rollout struct {
	t    *testing.T
	path string
}

func startRollout(t *testing.T) rollout {
	t.Helper()
	r := rollout{t, filepath.Join(t.TempDir(), "flags.yaml")}
	r.to("0")
	return r
}

func (r rollout) to(percentage string) {
	r.t.Helper()
	text := strings.Replace(string(builtInFlags), "percentage: 0", "percentage: "+percentage, 1)
	require.NoError(r.t, os.WriteFile(r.path+"~", []byte(text), 0o600))
	require.NoError(r.t, os.Rename(r.path+"~", r.path))
}

func declined() *ordersv1.CreateOrderRequest {
	request := cups()
	request.PaymentMethod = "pm_card_declined"
	return request
}

// TestTheFlagDoesNotTouchAnAnswerThatWasGiven: a replay is the stored answer,
// byte for byte, and what is read now has the feature.
func TestTheFlagDoesNotTouchAnAnswerThatWasGiven(t *testing.T) {
	t.Parallel()
	flag := startRollout(t)
	h := startWithFlags(t, flag.path)
	key := idempotency.NewKey().String()
	first, err := h.client.CreateOrder(withKey(t.Context(), key), declined())
	require.NoError(t, err)
	require.Equal(t, stateFailed, first.GetOrder().GetState())
	require.Empty(t, first.GetOrder().GetDeclineMessage())

	flag.to("100")
	eventually(t, "the flag is on", func() bool {
		return strings.Contains(h.get(t, first.GetOrder().GetId()).GetDeclineMessage(), "The card was declined.")
	})
	again, err := h.client.CreateOrder(withKey(t.Context(), key), declined())
	require.NoError(t, err)
	requireSame(t, first, again)

	// An answer that is given now has it, and keeps it when the flag goes off.
	key = idempotency.NewKey().String()
	second, err := h.client.CreateOrder(withKey(t.Context(), key), declined())
	require.NoError(t, err)
	require.NotEmpty(t, second.GetOrder().GetDeclineMessage())
	flag.to("0")
	eventually(t, "the flag is off", func() bool { return h.get(t, second.GetOrder().GetId()).GetDeclineMessage() == "" })
	again, err = h.client.CreateOrder(withKey(t.Context(), key), declined())
	require.NoError(t, err)
	requireSame(t, second, again)
}

// TestTheFlagIsForTenants: at this share one tenant has it and the other has it
// not, as the hash of pkg/flags places them.
func TestTheFlagIsForTenants(t *testing.T) {
	t.Parallel()
	flag := startRollout(t)
	flag.to("50")
	h := startWithFlags(t, flag.path)
	with, err := h.client.CreateOrder(keyed(t.Context()), declined())
	require.NoError(t, err)
	require.NotEmpty(t, with.GetOrder().GetDeclineMessage())
	without, err := h.other.CreateOrder(keyed(t.Context()), declined())
	require.NoError(t, err)
	require.Empty(t, without.GetOrder().GetDeclineMessage())
	require.Empty(t, h.create(t, cups()).GetDeclineMessage(), "a paid order was not declined")
}

// TestNoFlagIsKeptTooLong fails from the day on which one should be gone.
func TestNoFlagIsKeptTooLong(t *testing.T) {
	t.Parallel()
	require.NoError(t, flagstest.Audit(builtInFlags, os.DirFS("."), time.Now()))
}

// TestWhatIsDeployedIsWhatIsBuiltIn: deploy/flags may turn a flag up, and
// nothing else.
func TestWhatIsDeployedIsWhatIsBuiltIn(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../deploy/flags/orders.yaml")
	require.NoError(t, err)
	deployed, err := flags.Parse(content)
	require.NoError(t, err)
	builtIn, err := flags.Parse(builtInFlags)
	require.NoError(t, err)
	for name, flag := range builtIn {
		require.Zero(t, flag.Percentage, "%s: what is built in is off", name)
	}
	for name, flag := range deployed {
		flag.Percentage = 0
		deployed[name] = flag
	}
	require.Equal(t, builtIn, deployed)
}
