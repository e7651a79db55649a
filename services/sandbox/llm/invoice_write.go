package llm

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// change is one row to be written, or to be taken off.
type change struct {
	row    *Row
	remove bool
	done   chan<- error
}

// maxGroup bounds how many changes share a transaction.
const maxGroup = 256

// write is the only writer. While it commits, changes queue up; all that have are
// the next transaction, so that nobody waits for company and many share a commit
// (group commit, as in DeWitt et al., Implementation Techniques for Main Memory
// Database Systems, 1984).
func (i *Invoice) write() {
	defer close(i.done)
	group := make([]change, 0, maxGroup)
	for {
		group = group[:0]
		select {
		case first := <-i.changes:
			group = append(group, first)
		case <-i.stop:
			return
		}
	more:
		for len(group) < maxGroup {
			select {
			case next := <-i.changes:
				group = append(group, next)
			default:
				break more
			}
		}
		err := i.commit(group)
		for _, c := range group {
			c.done <- err
		}
	}
}

// commit writes a group in one transaction.
func (i *Invoice) commit(group []change) error {
	return i.db.Update(func(tx *bolt.Tx) error {
		for _, c := range group {
			if err := i.apply(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// apply writes one change. A row without a sequence is new.
func (i *Invoice) apply(tx *bolt.Tx, c change) error {
	rows, byRequest := tx.Bucket(rowsBucket), tx.Bucket(byRequestBucket)
	if c.remove {
		if c.row.Request != "" {
			if err := byRequest.Delete(requestKey(c.row.Request, c.row.Sequence)); err != nil {
				return err
			}
		}
		return rows.Delete(sequenceKey(c.row.Sequence))
	}
	now := i.now().UTC()
	if c.row.Sequence == 0 {
		sequence, err := rows.NextSequence()
		if err != nil {
			return err
		}
		if now.Before(i.last) {
			now = i.last // the clock was set back; what is found by time must not be
		}
		i.last = now
		c.row.Sequence, c.row.CreateTime = sequence, now
		if c.row.Request != "" {
			if err := byRequest.Put(requestKey(c.row.Request, sequence), nil); err != nil {
				return err
			}
		}
	}
	c.row.UpdateTime = now
	return putJSON(tx, rowsBucket, sequenceKey(c.row.Sequence), c.row)
}

// errClosed refuses what comes after Close.
var errClosed = errors.New("the invoice is closed")

// record writes a row and waits until it is in the file.
func (i *Invoice) record(row *Row) error { return i.send(change{row: row}) }

// strike takes a row off the invoice.
func (i *Invoice) strike(row *Row) error { return i.send(change{row: row, remove: true}) }

func (i *Invoice) send(c change) error {
	done := make(chan error, 1)
	c.done = done
	select {
	case i.changes <- c:
	case <-i.done:
		return errClosed
	}
	if err := <-done; err != nil {
		return fmt.Errorf("write the invoice: %w", err)
	}
	return nil
}
