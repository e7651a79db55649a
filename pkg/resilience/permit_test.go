package resilience

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestADependencyThatExistsIsReturnedAsItIs(t *testing.T) {
	r := newRegistry(t)
	var wg sync.WaitGroup
	found := make([]*Dependency, 20)
	for i := range found {
		wg.Go(func() { found[i], _ = r.Ensure("provider", Defaults(), nil) })
	}
	wg.Wait()
	require.NotNil(t, found[0])
	for _, d := range found {
		require.Same(t, found[0], d)
	}
	again, err := r.Ensure("provider", touchy(), nil)
	require.NoError(t, err)
	require.Same(t, found[0], again)
	_, err = r.Ensure("another", Config{}, nil)
	require.Error(t, err)
}

// opened is a dependency whose breaker is about to probe, one call at a time.
func opened(t *testing.T) *Dependency {
	t.Helper()
	d, err := newRegistry(t).Ensure("provider", touchy(func(c *Config) { c.BreakerProbes = 1 }), nil)
	require.NoError(t, err)
	for range 5 {
		p, err := d.Acquire()
		require.NoError(t, err)
		p.Settle(Failing, 0)
	}
	require.Equal(t, "open", d.Status().Breaker)
	_, err = d.Acquire()
	require.Equal(t, apierror.ReasonBreakerOpen, reason(err))
	require.Positive(t, apierror.From(err).RetryAfter())
	return d
}

func probe(t *testing.T, d *Dependency) (p Permit) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		p, err = d.Acquire()
		return err == nil
	}, 10*time.Second, time.Millisecond)
	return p
}

func TestANeutralEndMakesRoomForAnotherProbe(t *testing.T) {
	d := opened(t)
	p := probe(t, d)
	_, err := d.Acquire()
	require.Error(t, err, "one probe at a time")
	p.Settle(Neutral, 0)
	p.Settle(Failing, 0) // settled already
	require.Equal(t, "half-open", d.Status().Breaker)
	again, err := d.Acquire()
	require.NoError(t, err)
	again.Settle(Healthy, 0)
	require.Equal(t, "closed", d.Status().Breaker)
}

func TestAProbeIsProvenWhileItsStreamGoesOn(t *testing.T) {
	d := opened(t)
	p := probe(t, d)
	p.Prove()
	require.Equal(t, "closed", d.Status().Breaker)
	p.Settle(Failing, 0)
	require.Zero(t, d.Status().Calls)

	other, err := d.Acquire()
	require.NoError(t, err)
	other.Prove() // no probe
	other.Settle(Failing, 0)
	require.EqualValues(t, 1, d.Status().Calls)
	Permit{}.Settle(Failing, 0)
}
