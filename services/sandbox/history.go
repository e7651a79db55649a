package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

// How many operations a page of the history holds.
const (
	defaultPage = 100
	maxPage     = 1000
)

// Page is a part of the history, oldest first.
type Page struct {
	Operations []Operation `json:"operations"`
	// Next is the cursor of what follows; empty on the last page.
	Next string `json:"next,omitempty"`
}

// history answers the operations of a time, a page at a time, as a processor
// lets a merchant compare books. Refusals are not in it: nothing was done.
func (a *API) history(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	since, err := time.Parse(time.RFC3339Nano, query.Get("since"))
	if err != nil {
		a.fail(w, refuse("invalid_request", "since must be a time in RFC 3339"))
		return
	}
	until, err := time.Parse(time.RFC3339Nano, query.Get("until"))
	if err != nil {
		a.fail(w, refuse("invalid_request", "until must be a time in RFC 3339"))
		return
	}
	limit := defaultPage
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			a.fail(w, refuse("invalid_request", fmt.Sprintf("limit must be 1 to %d", maxPage)))
			return
		}
	}
	page, err := a.ledger.History(since, until, query.Get("cursor"), limit)
	if err != nil {
		a.fail(w, err)
		return
	}
	a.answer(w, page)
}

// History answers at most limit operations recorded in [since, until), oldest
// first, beginning after the cursor if there is one. What is recorded later
// comes later, so that pages of a past time do not shift.
func (l *Ledger) History(since, until time.Time, cursor string, limit int) (Page, error) {
	from, to := timeKey(since, 0), timeKey(until, 0)
	if cursor != "" {
		after, err := hex.DecodeString(cursor)
		if err != nil || len(after) != len(from) {
			return Page{}, refuse("invalid_request", "the cursor is not one of a page before")
		}
		from = after
	}
	page := Page{Operations: []Operation{}}
	err := l.db.View(func(tx *bolt.Tx) error {
		operations, index := tx.Bucket(operationsBucket), tx.Bucket(byTimeBucket).Cursor()
		for k, _ := index.Seek(from); k != nil && bytes.Compare(k, to) < 0; k, _ = index.Next() {
			if len(page.Operations) == limit {
				page.Next = hex.EncodeToString(k) // where the next page begins
				return nil
			}
			var o Operation
			if err := json.Unmarshal(operations.Get(k[8:]), &o); err != nil {
				return fmt.Errorf("read an operation: %w", err)
			}
			page.Operations = append(page.Operations, o.At(l.now()))
		}
		return nil
	})
	return page, err
}

// indexByTime indexes a ledger that was written before there was an index.
func indexByTime(tx *bolt.Tx) error {
	index := tx.Bucket(byTimeBucket)
	if k, _ := index.Cursor().First(); k != nil {
		return nil
	}
	return tx.Bucket(operationsBucket).ForEach(func(sequence, data []byte) error {
		var o Operation
		if err := json.Unmarshal(data, &o); err != nil {
			return fmt.Errorf("read an operation: %w", err)
		}
		return index.Put(timeKey(o.CreateTime, binary.BigEndian.Uint64(sequence)), nil)
	})
}

// timeKey orders operations by time, and those of one time by sequence.
func timeKey(at time.Time, sequence uint64) []byte {
	// Nanoseconds count from 1970 to 2262. Nothing was done before, and a listing
	// may ask for all there is.
	nanos := at.UnixNano()
	switch {
	case at.Before(time.Unix(0, 0)):
		nanos = 0
	case at.After(time.Unix(0, math.MaxInt64)):
		nanos = math.MaxInt64
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(nanos)), sequence)
}
