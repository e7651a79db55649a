package service

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// scraped reads one series from a scrape.
func scraped(t *testing.T, i *instance, series string) float64 {
	t.Helper()
	body := get(t, i.Probe, "/metrics").body
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(body)
	require.NotNil(t, found, "no %s in\n%s", series, body)
	value, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return value
}

func TestADrainIsSeenWhileItLastsAndCountedWhenItEnds(t *testing.T) {
	shop := &shop{}
	i := start(t, definition(shop), "HOLDFAST_DRAIN_CAP", "1s", "HOLDFAST_LAME_DUCK", "0s")
	require.Zero(t, scraped(t, i, "holdfast_drain_spent_ratio"))
	require.Zero(t, scraped(t, i, `holdfast_drains_total{forced="true"}`), "counted from zero, so that an increase shows")

	client := i.client()
	cut := make(chan error, 1)
	go func() {
		// Only the drain may cut it off.
		_, err := client.GetOrder(context.Background(), &ordersv1.GetOrderRequest{Id: orderStuck})
		cut <- err
	}()
	eventually(t, func() bool { return shop.calls.Load() == 1 }, "the call is in flight")
	drained := make(chan int, 1)
	go func() { drained <- i.admin(http.MethodPost).StatusCode }()
	eventually(t, func() bool { return scraped(t, i, "holdfast_drain_spent_ratio") > 0.1 }, "the drain is seen to take its time")

	require.Equal(t, http.StatusInternalServerError, <-drained)
	require.Error(t, <-cut)
	require.Zero(t, scraped(t, i, "holdfast_drain_spent_ratio"))
	require.InEpsilon(t, 1, scraped(t, i, `holdfast_drains_total{forced="true"}`), 0.001)
	require.Zero(t, scraped(t, i, `holdfast_drains_total{forced="false"}`))
}
