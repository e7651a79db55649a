//go:build faults

package faults

import (
	"context"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestACutStreamEndsAfterSoManyMessages(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [{"method": "` + watch + `", "percent": 100, "fault": "cut", "messages": 3, "code": "ABORTED"}]}`)
	c := w.client()
	got, err := c.watch(10)
	require.EqualValues(t, 3, got)
	require.Equal(t, codes.Aborted, status.Code(err))
	reason, _ := apierror.ReasonOf(err)
	require.Equal(t, apierror.ReasonOperationOpen, reason)
	require.ErrorIs(t, <-w.watches, context.Canceled, "to the handler, its client is gone")

	got, err = c.watch(2)
	require.EqualValues(t, 2, got)
	require.ErrorIs(t, err, io.EOF, "a stream that is shorter is whole")
	require.NoError(t, <-w.watches)
	require.EqualValues(t, 1, w.shown().Rules[0].Applied)

	_, err = c.watch(3)
	require.Equal(t, codes.Aborted, status.Code(err), "the messages were all, but not the end")
	require.NoError(t, <-w.watches)
}

// TestACutEndsAStreamThatWaits: the next message may never come.
func TestACutEndsAStreamThatWaits(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [{"method": "` + watch + `", "percent": 100, "fault": "cut", "messages": 1}]}`)
	got, err := w.client().watch(-1)
	require.EqualValues(t, 1, got)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorIs(t, <-w.watches, context.Canceled)
}

// TestACutCanBeAReset: what was on its way is lost with the connection.
func TestACutCanBeAReset(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [{"method": "` + watch + `", "percent": 100, "fault": "cut", "messages": 3, "with": "reset"}]}`)
	c := w.client()
	got, err := c.watch(10)
	require.LessOrEqual(t, got, int64(3))
	require.Equal(t, codes.Unavailable, status.Code(err))
	c.end.await(t, syscall.ECONNRESET)
	require.Error(t, <-w.watches)
}

func TestTheShortestOfSeveralCutsIsTheOne(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [
		{"method": "*", "percent": 100, "fault": "cut", "messages": 5},
		{"method": "*", "percent": 100, "fault": "cut", "messages": 2, "code": "ABORTED"}]}`)
	got, err := w.client().watch(10)
	require.EqualValues(t, 2, got)
	require.Equal(t, codes.Aborted, status.Code(err))
}

func TestAStreamCanFailBeforeAndAfterItsHandler(t *testing.T) {
	w := start(t)
	c := w.client()
	for when, messages := range map[string]int64{before: 0, after: 4} {
		w.put(`{"rules": [{"method": "` + watch + `", "percent": 100, "fault": "error", "when": "` + when + `"}]}`)
		got, err := c.watch(4)
		require.Equal(t, messages, got, when)
		require.Equal(t, codes.Unavailable, status.Code(err))
	}
	require.Len(t, w.watches, 1, "one handler ran, for the fault after it")
}
