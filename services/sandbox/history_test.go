package sandbox

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// ever is a time before and one after everything.
var ever = [2]time.Time{{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}

// keysOf are the keys of a whole listing, and how many pages it took.
func keysOf(t *testing.T, l *Ledger, since, until time.Time, limit int) (keys []string, pages int) {
	t.Helper()
	for cursor := ""; ; {
		page, err := l.History(since, until, cursor, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Operations), limit)
		for _, o := range page.Operations {
			keys = append(keys, o.Key)
		}
		pages++
		if cursor = page.Next; cursor == "" {
			return keys, pages
		}
	}
}

func TestTheHistoryOfATimeIsWhatWasDoneInIt(t *testing.T) {
	l := newLedger(t)
	clock := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	start := clock
	l.now = func() time.Time { return clock }
	for i := range 5 {
		do(t, l, fmt.Sprintf("k%d", i), chargeOf(fmt.Sprintf("order-%d", i), 500))
		if i != 2 { // two in one instant
			clock = clock.Add(time.Minute)
		}
	}
	for limit, wantPages := range map[int]int{1: 5, 2: 3, 5: 1, 100: 1} {
		keys, pages := keysOf(t, l, ever[0], ever[1], limit)
		require.Equal(t, []string{"k0", "k1", "k2", "k3", "k4"}, keys)
		require.Equal(t, wantPages, pages, "by %d", limit)
	}
	within, _ := keysOf(t, l, start.Add(time.Minute), start.Add(2*time.Minute), 10)
	require.Equal(t, []string{"k1"}, within, "the end does not belong to it")
	within, _ = keysOf(t, l, start.Add(2*time.Minute), start.Add(3*time.Minute), 1)
	require.Equal(t, []string{"k2", "k3"}, within)
}

func TestPagesDoNotShiftWhenMoreIsDone(t *testing.T) {
	l := newLedger(t)
	for i := range 3 {
		do(t, l, fmt.Sprintf("k%d", i), chargeOf("order-1", 500))
	}
	first, err := l.History(ever[0], ever[1], "", 2)
	require.NoError(t, err)
	do(t, l, "k3", chargeOf("order-1", 500))
	second, err := l.History(ever[0], ever[1], first.Next, 2)
	require.NoError(t, err)
	require.Equal(t, "k2", second.Operations[0].Key)
	require.Equal(t, "k3", second.Operations[1].Key)
}

// A ledger of a sandbox that had no history yet.
func TestAnOldLedgerIsIndexedWhenItIsOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := OpenLedger(path, time.Hour)
	require.NoError(t, err)
	do(t, l, "k1", chargeOf("order-1", 500))
	do(t, l, "k2", chargeOf("order-2", 500))
	require.NoError(t, l.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(byTimeBucket) }))
	require.NoError(t, l.Close())

	l, err = OpenLedger(path, time.Hour)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	keys, _ := keysOf(t, l, ever[0], ever[1], 10)
	require.Equal(t, []string{"k1", "k2"}, keys)
}

func TestTheHistoryOverHTTP(t *testing.T) {
	s := startServer(t, testConfig(t))
	for i := range 3 {
		_, _, _, err := call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", fmt.Sprintf("k%d", i))
		require.NoError(t, err)
	}
	ask := func(query url.Values) (int, string) {
		status, body, _, err := call(t, "GET", s.URL()+"/v1/history?"+query.Encode(), "")
		require.NoError(t, err)
		return status, body
	}
	query := url.Values{"since": {"2000-01-01T00:00:00Z"}, "until": {"2200-01-01T00:00:00Z"}, "limit": {"2"}}
	status, body := ask(query)
	require.Equal(t, 200, status, body)
	var page Page
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	require.Len(t, page.Operations, 2)
	query.Set("cursor", page.Next)
	_, body = ask(query)
	page = Page{}
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	require.Len(t, page.Operations, 1)
	require.Empty(t, page.Next)

	for name, value := range map[string]string{"since": "yesterday", "until": "", "limit": "0", "cursor": "zz"} {
		wrong := url.Values{"since": query["since"], "until": query["until"]}
		wrong.Set(name, value)
		status, body := ask(wrong)
		require.Equal(t, 400, status, "%s: %s", name, body)
		require.Contains(t, body, "invalid_request")
	}
}
