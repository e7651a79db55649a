package orders

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// event is a server-sent event.
type event struct{ id, name, data string }

// events opens a watch as a browser does and returns a function for the next
// event; the zero event at the end.
func (w *whole) events(t *testing.T, path, lastEventID string) func() event {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(leave)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.http+path, http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	r.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	lines := bufio.NewScanner(response.Body)
	return func() (e event) {
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case field == "id":
				e.id = value
			case field == "event":
				e.name = value
			case field == "data":
				e.data = value
			case field == "" && e.data != "":
				return e
			}
		}
		return e
	}
}

// revision is the message in an event.
func (e event) revision(t *testing.T) *ordersv1.WatchOrderResponse {
	t.Helper()
	var message ordersv1.WatchOrderResponse
	require.NoError(t, protojson.Unmarshal([]byte(e.data), &message), e)
	require.Equal(t, message.GetResumeToken(), e.id)
	return &message
}

// TestABrowserIsHandedOverByADrain: it comes back to another replica with the URL
// that it began with and the id of the last event.
func TestABrowserIsHandedOverByADrain(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	leaving, staying := world.replica(t), world.replica(t)
	o := leaving.create(t, cups())
	path := "/v1/orders/" + o.GetId() + ":watch"
	beginning := leaving.events(t, path, "")().id

	path += "?resume_token=" + beginning
	next := leaving.events(t, path, "")
	leaving.note(t, o.GetId(), "before")
	last := next()
	require.Equal(t, "before", last.revision(t).GetOrder().GetShippingNote())
	require.NoError(t, leaving.stop())
	end := next()
	require.Equal(t, "end", end.name)
	var problem apierror.Problem
	require.NoError(t, json.Unmarshal([]byte(end.data), &problem))
	require.Equal(t, apierror.ReasonDraining, problem.Reason)
	require.Equal(t, last.id, problem.Metadata["resume_token"])
	require.Equal(t, event{}, next(), "nothing follows")

	staying.note(t, o.GetId(), "after")
	got := staying.events(t, path, last.id)().revision(t)
	require.Equal(t, "after", got.GetOrder().GetShippingNote(), "the header is newer than the URL")
	require.EqualValues(t, 4, got.GetRevision())
}

// TestAReplicaThatIsDrainedAndStaysEndsItsWatchesToo: POST /drain is a drain.
func TestAReplicaThatIsDrainedAndStaysEndsItsWatchesToo(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	o := h.create(t, cups())
	overGRPC, next := h.watch(t, o.GetId(), ""), h.events(t, "/v1/orders/"+o.GetId()+":watch", "")
	overGRPC.next(t)
	next()
	response, err := http.Post(h.admin+"/drain", "", http.NoBody)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, apierror.ReasonDraining, overGRPC.ended(t).Reason())
	require.Equal(t, "end", next().name)

	// Who comes all the same is served, and told of changes.
	next = h.events(t, "/v1/orders/"+o.GetId()+":watch", "")
	next()
	h.exec(t, `UPDATE orders SET version = version + 1, shipping_note = 'by another replica' WHERE id = $1`, o.GetId())
	require.Equal(t, "by another replica", next().revision(t).GetOrder().GetShippingNote())
}
