package sandbox

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The buckets of the ledger file.
var (
	operationsBucket = []byte("operations") // sequence -> Operation, only ever added to
	byKeyBucket      = []byte("by_key")     // key, 0, sequence -> nothing: lookups, kept for ever
	byTimeBucket     = []byte("by_time")    // nanoseconds, sequence -> nothing: listings
	keysBucket       = []byte("keys")       // key -> remembered, until the horizon
	chargesBucket    = []byte("charges")    // id -> charge
	sendsBucket      = []byte("sends")      // key -> how often it was sent
	scriptBucket     = []byte("script")     // "script" -> Script
	allBuckets       = [][]byte{operationsBucket, byKeyBucket, byTimeBucket, keysBucket, chargesBucket, sendsBucket, scriptBucket}
	scriptKey        = []byte("script")
)

// errKeyReused refuses a key that was sent before with another request.
var errKeyReused = refuse("key_reused", "the idempotency key was used with another request")

// Ledger is what the world saw, in one file. Every change is one transaction,
// on disk (fsync) before it is answered, so that a kill -9 takes nothing back.
type Ledger struct {
	db      *bolt.DB
	horizon time.Duration
	now     func() time.Time
}

// OpenLedger opens the file, or makes it. Keys are forgotten once the horizon
// has passed since their first use.
func OpenLedger(path string, horizon time.Duration) (*Ledger, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, err)
	}
	// Concurrent requests share one fsync; a lone one waits this long for company.
	db.MaxBatchDelay = time.Millisecond
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range allBuckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return indexByTime(tx)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the ledger %s: %w", path, err), db.Close())
	}
	return &Ledger{db: db, horizon: horizon, now: time.Now}, nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.db.Close() }

// remembered is what a key was used for, as long as the horizon lasts.
type remembered struct {
	Fingerprint string    `json:"fingerprint"`
	Sequence    uint64    `json:"sequence"`
	ExpireTime  time.Time `json:"expire_time"`
}

// Perform does what is asked, once for a key within the horizon: sent again, it
// answers the operation recorded the first time, and replayed. The fault is
// heeded as far as it concerns the ledger (decline, settle later, forget).
// Its error is a *Refusal when nothing was done and nothing recorded.
func (l *Ledger) Perform(key string, r Request, f Fault) (operation Operation, replayed bool, err error) {
	if err := r.validate(); err != nil {
		return Operation{}, false, err
	}
	err = l.db.Batch(func(tx *bolt.Tx) error {
		now := l.now().UTC()
		// Batch may run this again: everything is assigned anew.
		operation, replayed = Operation{}, false
		var known remembered
		if found, err := get(tx, keysBucket, []byte(key), &known); err != nil {
			return err
		} else if found && now.Before(known.ExpireTime) {
			if known.Fingerprint != fingerprint(r) {
				return errKeyReused
			}
			replayed = true
			_, err := get(tx, operationsBucket, sequenceKey(known.Sequence), &operation)
			return err
		}
		done, err := perform(tx, key, r, f, now)
		if err != nil {
			return err
		}
		operation = done
		if f.Kind == FaultForgetKey {
			return nil
		}
		return put(tx, keysBucket, []byte(key), remembered{
			Fingerprint: fingerprint(r), Sequence: operation.Sequence, ExpireTime: now.Add(l.horizon),
		})
	})
	if err != nil {
		return Operation{}, false, err
	}
	return operation.At(l.now()), replayed, nil
}

// perform changes the charge and records the operation.
func perform(tx *bolt.Tx, key string, r Request, f Fault, now time.Time) (Operation, error) {
	o := Operation{Key: key, Kind: r.Kind, Charge: r.Charge, Amount: r.Amount, Status: StatusSucceeded, CreateTime: now}
	var c charge
	if r.Charge == "" {
		o.Charge, c = newChargeID(), open(r)
	} else if found, err := get(tx, chargesBucket, []byte(r.Charge), &c); err != nil {
		return o, err
	} else if !found {
		return o, refuse("not_found", "no such charge")
	}
	o.Reference, o.Description, o.Currency = c.Reference, c.Description, c.Currency
	if r.Kind == KindVoid {
		o.Amount = c.Authorized
	}

	if code := declined(f, r); code != "" {
		o.Status, o.DeclineCode = StatusDeclined, code
		return o, record(tx, &o)
	}
	if r.Charge != "" {
		if err := c.apply(r, now); err != nil {
			return o, err
		}
	}
	if f.Kind == FaultSettleLater {
		o.Status, o.SettleTime = StatusPending, now.Add(time.Duration(f.Delay))
		c.SettleTime = o.SettleTime
	}
	if err := put(tx, chargesBucket, []byte(o.Charge), c); err != nil {
		return o, err
	}
	return o, record(tx, &o)
}

// declined is the code with which the card is declined; empty if it is not. A
// fault is about the request: whatever happens to it on its way, a card that
// declines declines.
func declined(f Fault, r Request) string {
	if f.Kind == FaultDecline {
		return f.Code
	}
	if r.PaymentMethod == "" { // an operation on a charge that was let through
		return ""
	}
	return cardFault(r.PaymentMethod, 1).Code
}

// record adds the operation to the end of the ledger.
func record(tx *bolt.Tx, o *Operation) error {
	sequence, err := tx.Bucket(operationsBucket).NextSequence()
	if err != nil {
		return err
	}
	o.Sequence = sequence
	if err := put(tx, operationsBucket, sequenceKey(sequence), o); err != nil {
		return err
	}
	if err := tx.Bucket(byTimeBucket).Put(timeKey(o.CreateTime, sequence), nil); err != nil {
		return err
	}
	return tx.Bucket(byKeyBucket).Put(keyPrefix(o.Key, sequence), nil)
}

// Lookup answers every operation recorded for a key, oldest first. It knows
// keys for ever, also those whose horizon has passed.
func (l *Ledger) Lookup(key string) ([]Operation, error) {
	operations := []Operation{}
	prefix := keyPrefix(key, 0)[:len(key)+1]
	err := l.db.View(func(tx *bolt.Tx) error {
		cursor := tx.Bucket(byKeyBucket).Cursor()
		for k, _ := cursor.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = cursor.Next() {
			var o Operation
			if _, err := get(tx, operationsBucket, k[len(prefix):], &o); err != nil {
				return err
			}
			operations = append(operations, o.At(l.now()))
		}
		return nil
	})
	return operations, err
}

// Each calls yield with every operation, oldest first, as of one moment.
func (l *Ledger) Each(yield func(Operation) error) error {
	return l.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(operationsBucket).ForEach(func(_, data []byte) error {
			var o Operation
			if err := json.Unmarshal(data, &o); err != nil {
				return fmt.Errorf("read an operation: %w", err)
			}
			return yield(o.At(l.now()))
		})
	})
}

func newChargeID() string { return "ch_" + rand.Text() }

// fingerprint tells one request from another that is sent with the same key.
func fingerprint(r Request) string {
	data, err := json.Marshal(struct {
		Kind Kind `json:"kind"`
		Request
	}{r.Kind, r})
	if err != nil {
		panic(err) // strings and integers always marshal
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func sequenceKey(sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, sequence)
}

func keyPrefix(key string, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(key), 0), sequence)
}

func get(tx *bolt.Tx, bucket, key []byte, into any) (bool, error) {
	data := tx.Bucket(bucket).Get(key)
	if data == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("read %s: %w", bucket, err)
	}
	return true, nil
}

func put(tx *bolt.Tx, bucket, key []byte, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", bucket, err)
	}
	return tx.Bucket(bucket).Put(key, data)
}
