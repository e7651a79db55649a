package llm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Selection is a part of the invoice.
type Selection struct {
	// Since and Until limit it to rows created from Since on and before Until; the
	// zero time is no limit.
	Since, Until time.Time
	// Request limits it to requests whose id begins so: a request and all its
	// attempts.
	Request string
	// After is the sequence after which a page begins.
	After uint64
	// Limit is how many rows a page has; 0 is all.
	Limit int
}

// Total is what was billed for one model of one provider.
type Total struct {
	Provider Provider `json:"provider"`
	Model    string   `json:"model"`
	Requests int64    `json:"requests"`
	Usage    Usage    `json:"usage"`
	Billed   int64    `json:"billed"` // nano-dollars
}

// Rows answers a page of a selection, oldest first, and whether more follow.
func (i *Invoice) Rows(s Selection) (rows []Row, more bool, err error) {
	rows = []Row{}
	err = i.each(s, func(row Row) bool {
		if s.Limit > 0 && len(rows) == s.Limit {
			more = true
			return false
		}
		rows = append(rows, row)
		return true
	})
	return rows, more, err
}

// Totals sums a selection, whatever its After and Limit, by provider and model.
func (i *Invoice) Totals(s Selection) ([]Total, error) {
	s.After, s.Limit = 0, 0
	sums := map[[2]string]*Total{}
	err := i.each(s, func(row Row) bool {
		key := [2]string{string(row.Provider), row.Model}
		t := sums[key]
		if t == nil {
			t = &Total{Provider: row.Provider, Model: row.Model}
			sums[key] = t
		}
		t.Requests++
		t.Usage = t.Usage.plus(row.Usage)
		t.Billed += row.Billed
		return true
	})
	totals := make([]Total, 0, len(sums))
	for _, t := range sums {
		totals = append(totals, *t)
	}
	slices.SortFunc(totals, func(a, b Total) int {
		if by := strings.Compare(string(a.Provider), string(b.Provider)); by != 0 {
			return by
		}
		return strings.Compare(a.Model, b.Model)
	})
	return totals, err
}

// each calls yield with every row of a selection until it answers false.
func (i *Invoice) each(s Selection, yield func(Row) bool) error {
	return i.db.View(func(tx *bolt.Tx) error {
		if s.Request != "" {
			return eachOfRequest(tx, s, yield)
		}
		cursor := tx.Bucket(rowsBucket).Cursor()
		from := s.After + 1
		if !s.Since.IsZero() {
			since, err := sequenceAt(tx, s.Since)
			if err != nil {
				return err
			}
			from = max(from, since)
		}
		for k, data := cursor.Seek(sequenceKey(from)); k != nil; k, data = cursor.Next() {
			row, err := readRow(data)
			if err != nil {
				return err
			}
			if !s.Until.IsZero() && !row.CreateTime.Before(s.Until) || !yield(row) {
				return nil
			}
		}
		return nil
	})
}

// eachOfRequest goes by the index; its rows are in the order of their ids.
func eachOfRequest(tx *bolt.Tx, s Selection, yield func(Row) bool) error {
	var rows []Row
	cursor := tx.Bucket(byRequestBucket).Cursor()
	for k, _ := cursor.Seek([]byte(s.Request)); k != nil && bytes.HasPrefix(k, []byte(s.Request)); k, _ = cursor.Next() {
		row, err := readRow(tx.Bucket(rowsBucket).Get(k[len(k)-8:]))
		if err != nil {
			return err
		}
		if row.Sequence > s.After && !row.CreateTime.Before(s.Since) && (s.Until.IsZero() || row.CreateTime.Before(s.Until)) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return int(int64(a.Sequence) - int64(b.Sequence)) })
	for _, row := range rows {
		if !yield(row) {
			break
		}
	}
	return nil
}

// sequenceAt is the first sequence that was created at a time or after it, by
// bisection: times go up with sequences.
func sequenceAt(tx *bolt.Tx, at time.Time) (uint64, error) {
	var failed error
	cursor := tx.Bucket(rowsBucket).Cursor()
	last, _ := cursor.Last()
	if last == nil {
		return 1, nil
	}
	n := sort.Search(int(binary.BigEndian.Uint64(last)), func(n int) bool {
		_, data := cursor.Seek(sequenceKey(uint64(n) + 1)) // or the next, where one was struck
		row, err := readRow(data)
		if err != nil {
			failed = err
			return true
		}
		return !row.CreateTime.Before(at)
	})
	return uint64(n) + 1, failed
}

func readRow(data []byte) (row Row, err error) {
	if err := json.Unmarshal(data, &row); err != nil {
		return row, fmt.Errorf("read a row: %w", err)
	}
	return row, nil
}
