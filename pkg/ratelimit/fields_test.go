package ratelimit

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// item is a list of one item as the draft has them: a String with parameters
// that are Integers (RFC 9651, sections 3.1, 3.3).
var item = regexp.MustCompile(`^"[a-z-]+"(;[a-z]=[0-9]{1,15})+$`)

func TestTheFieldsAreInTheDraftsSyntax(t *testing.T) {
	for _, row := range []struct {
		quota         Quota
		taken         int
		policy, state string
	}{
		{Quota{"tenant-reads", 1000, 2000}, 1, `"tenant-reads";q=2000;w=2`, `"tenant-reads";r=1999;t=1`},
		{Quota{"failed-auth", 5, 20}, 20, `"failed-auth";q=20;w=4`, `"failed-auth";r=0;t=1`},
		{Quota{"slow", 0.1, 3}, 5, `"slow";q=3;w=30`, `"slow";r=0;t=10`},
		{Quota{"odd", 3, 10}, 0, `"odd";q=10;w=4`, `"odd";r=10;t=0`}, // 3.34 s, rounded up
		{Quota{"fast", maxRate, maxRate}, 0, `"fast";q=1000000000;w=1`, `"fast";r=1000000000;t=0`},
		{Quota{"fast", 1000, 10}, 0, `"fast";q=10;w=1`, `"fast";r=10;t=0`}, // a window of 0 is not one
	} {
		c := newClock()
		l := NewLimiter[string](row.quota, 1)
		l.now = func() time.Time { return c.now }
		d := l.Peek("a")
		for range row.taken {
			d = l.Take("a")
		}
		require.Regexp(t, item, row.policy)
		require.Regexp(t, item, row.state)
		require.Equal(t, metadata.MD{"ratelimit-policy": {row.policy}, "ratelimit": {row.state}}, d.Metadata())

		over := http.Header{}
		d.SetHeaders(over)
		require.Equal(t, row.policy, over.Get("RateLimit-Policy"))
		require.Equal(t, row.state, over.Get("RateLimit"))
		translated := http.Header{}
		HeadersFrom(d.Metadata(), translated)
		require.Equal(t, over, translated)
	}
}

func TestWhereThereIsNoLimitThereIsNothingToTell(t *testing.T) {
	h := http.Header{}
	Unlimited.SetHeaders(h)
	HeadersFrom(Unlimited.Metadata(), h)
	require.Empty(t, h)
	require.NoError(t, Unlimited.Err())
}

func TestARefusalIsTypedAndSaysWhenToComeBack(t *testing.T) {
	l := NewLimiter[string](Quota{"tenant-writes", 0.5, 1}, 1)
	l.Take("a")
	err := l.Take("a").Err()
	reason, _ := apierror.ReasonOf(err)
	require.Equal(t, apierror.ReasonRateLimited, reason)
	e := apierror.From(status.Convert(err).Err()) // as it arrives at a client
	require.Equal(t, apierror.RetrySameKey, e.Retry())
	require.InDelta(t, 2*time.Second, e.RetryAfter(), float64(100*time.Millisecond))
	require.Equal(t, "tenant-writes", e.Metadata("quota"))
}
