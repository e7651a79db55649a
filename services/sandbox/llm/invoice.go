package llm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The buckets of the invoice's file.
var (
	rowsBucket      = []byte("rows")       // sequence -> Row
	byRequestBucket = []byte("by_request") // request id, 0, sequence -> nothing
	scriptBucket    = []byte("script")     // "script" -> Script
	scriptKey       = []byte("script")
)

// State is what became of a request.
type State string

// The states of a request that is billed.
//
//	running ──> finished    the whole answer was produced
//	        ├─> cut         the provider ended it, by a fault or by dying
//	        └─> cancelled   the client left
const (
	StateRunning   State = "running"
	StateFinished  State = "finished"
	StateCut       State = "cut"
	StateCancelled State = "cancelled"
)

// Row is what one request was billed. A request that was refused, or that failed
// before its first token, has none.
type Row struct {
	Sequence uint64 `json:"sequence"`
	// Request is the Holdfast-Request-Id of the request, empty if it had none.
	Request string `json:"request,omitempty"`
	// ID is the answer's name in its protocol, such as chatcmpl-….
	ID       string   `json:"id"`
	Provider Provider `json:"provider"`
	Model    string   `json:"model"`
	Key      string   `json:"key"`
	Stream   bool     `json:"stream"`
	State    State    `json:"state"`
	Usage    Usage    `json:"usage"`
	// Billed is in nano-dollars (1e-9 USD).
	Billed int64 `json:"billed"`
	// CreateTime never goes back from one sequence to the next.
	CreateTime time.Time `json:"create_time"`
	UpdateTime time.Time `json:"update_time"`
}

// Invoice is what the providers charged, in one file.
//
// What was answered is on it: the row is in the file before the end of the answer
// is sent. A process that is killed takes nothing back, because what it wrote
// stays with the operating system; the file is not synced for each row, so a
// machine that loses its power may lose rows, or the file. It is there to be
// compared with another ledger while both machines run, and thousands of rows a
// second must not wait for a disk.
type Invoice struct {
	db      *bolt.DB
	now     func() time.Time
	last    time.Time // of the newest row; the writer's
	changes chan change
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has ended
}

// OpenInvoice opens the file, or makes it. Streams that a killed process left
// running were cut: they are billed for their prompts, since what they had
// produced died with it.
func OpenInvoice(path string) (*Invoice, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second, NoSync: true, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open the invoice %s: %w", path, err)
	}
	i := &Invoice{db: db, now: time.Now, changes: make(chan change), stop: make(chan struct{}), done: make(chan struct{})}
	if err := db.Update(i.prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the invoice %s: %w", path, err), db.Close())
	}
	go i.write() // ends with Close
	return i, nil
}

// prepare makes the buckets and ends what a process before left running.
func (i *Invoice) prepare(tx *bolt.Tx) error {
	for _, name := range [][]byte{rowsBucket, byRequestBucket, scriptBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	var left []Row
	err := tx.Bucket(rowsBucket).ForEach(func(_, data []byte) error {
		if !bytes.Contains(data, []byte(`"state":"running"`)) {
			return nil
		}
		var row Row
		if err := json.Unmarshal(data, &row); err != nil {
			return fmt.Errorf("read a row: %w", err)
		}
		if row.State == StateRunning {
			left = append(left, row)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, data := tx.Bucket(rowsBucket).Cursor().Last(); data != nil {
		newest, err := readRow(data)
		if err != nil {
			return err
		}
		i.last = newest.CreateTime
	}
	for _, row := range left {
		row.State = StateCut
		if err := putJSON(tx, rowsBucket, sequenceKey(row.Sequence), row); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the writer and closes the file. What is billed after it is an error.
func (i *Invoice) Close() error {
	close(i.stop)
	<-i.done
	return errors.Join(i.db.Sync(), i.db.Close())
}

// Lookup answers the last row of a request id.
func (i *Invoice) Lookup(request string) (row Row, found bool, err error) {
	err = i.db.View(func(tx *bolt.Tx) error {
		prefix := append([]byte(request), 0)
		cursor := tx.Bucket(byRequestBucket).Cursor()
		var last []byte
		for k, _ := cursor.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = cursor.Next() {
			last = k[len(prefix):]
		}
		if last == nil {
			return nil
		}
		found, err = getJSON(tx, rowsBucket, last, &row)
		return err
	})
	return row, found, err
}

// keepScript keeps a script over restarts.
func (i *Invoice) keepScript(s Script) error {
	return i.db.Update(func(tx *bolt.Tx) error { return putJSON(tx, scriptBucket, scriptKey, s) })
}

// keptScript is the script of the process before.
func (i *Invoice) keptScript() (s Script, err error) {
	err = i.db.View(func(tx *bolt.Tx) error {
		_, err := getJSON(tx, scriptBucket, scriptKey, &s)
		return err
	})
	return s, err
}

func sequenceKey(sequence uint64) []byte { return binary.BigEndian.AppendUint64(nil, sequence) }

func requestKey(request string, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(request), 0), sequence)
}

func getJSON(tx *bolt.Tx, bucket, key []byte, into any) (bool, error) {
	data := tx.Bucket(bucket).Get(key)
	if data == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("read %s: %w", bucket, err)
	}
	return true, nil
}

func putJSON(tx *bolt.Tx, bucket, key []byte, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", bucket, err)
	}
	return tx.Bucket(bucket).Put(key, data)
}
