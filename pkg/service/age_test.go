package service

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// TestAStreamEndsBeforeItsConnectionIsCutOff, whenever gRPC's jitter has it cut
// off and whenever the stream began.
func TestAStreamEndsBeforeItsConnectionIsCutOff(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		l := lifespan{age: time.Duration(1 + random.Int64N(int64(time.Hour))), grace: time.Duration(4 + random.Int64N(int64(time.Minute)))}
		goaway := time.Duration(float64(l.age) * (1 - jitter + 2*jitter*random.Float64()))
		opened := time.Duration(random.Int64N(int64(goaway) + 1)) // none opens later
		ends, cut := opened+l.left(opened), goaway+l.grace
		require.Less(t, ends, cut)
		require.GreaterOrEqual(t, ends-opened, l.grace*3/4, "a stream has some time, always")
	}
}

func TestAStreamIsToldBeforeItsConnectionIsCutOff(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_MAX_CONN_AGE", "400ms", "HOLDFAST_MAX_CONN_AGE_GRACE", "800ms")
	end := func() error {
		stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
		require.NoError(t, err)
		for {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
	}
	reason, _ := apierror.ReasonOf(end())
	require.Equal(t, apierror.ReasonDraining, reason)
}

// TestControlAStreamThatDoesNotListenIsCutOff, on the same connection.
func TestControlAStreamThatDoesNotListenIsCutOff(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_MAX_CONN_AGE", "400ms", "HOLDFAST_MAX_CONN_AGE_GRACE", "800ms")
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderDeaf})
	require.NoError(t, err)
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	_, typed := apierror.ReasonOf(err)
	require.False(t, typed, "the transport broke: %v", err)
}
