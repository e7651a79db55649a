package sandbox

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// SetScript replaces the script and its counts.
func (l *Ledger) SetScript(s Script) error {
	return l.db.Update(func(tx *bolt.Tx) error { return put(tx, scriptBucket, scriptKey, s) })
}

// Script is the script in force, with how often each rule has struck.
func (l *Ledger) Script() (Script, error) {
	s := Script{Rules: []Rule{}}
	err := l.db.View(func(tx *bolt.Tx) error {
		_, err := get(tx, scriptBucket, scriptKey, &s)
		return err
	})
	return s, err
}

// NextFault counts this send of the key and answers the fault that it meets by
// script or card; the zero Fault if none. Counting comes before the effect and
// is durable, so that a fault that strikes only the first send does so also
// when the sandbox is killed in between.
func (l *Ledger) NextFault(key string, r Request) (Fault, error) {
	if quiet, err := l.nothingPlanned(r); quiet || err != nil {
		return Fault{}, err
	}
	var fault Fault
	err := l.db.Batch(func(tx *bolt.Tx) error {
		fault = Fault{}
		sent, err := countSend(tx, key, r.Kind)
		if err != nil {
			return err
		}
		reference := r.Reference
		if r.Charge != "" {
			var c charge
			if _, err := get(tx, chargesBucket, []byte(r.Charge), &c); err != nil {
				return err
			}
			reference = c.Reference
		}
		var s Script
		if found, err := get(tx, scriptBucket, scriptKey, &s); err != nil {
			return err
		} else if found {
			if fault = s.strike(r.Kind, reference, key, sent); fault.Kind != "" {
				return put(tx, scriptBucket, scriptKey, s)
			}
		}
		if r.PaymentMethod != "" {
			fault = cardFault(r.PaymentMethod, sent)
		}
		return nil
	})
	return fault, err
}

// nothingPlanned spares the common case a second fsync: no script, and a card
// that always works.
func (l *Ledger) nothingPlanned(r Request) (bool, error) {
	if f, known := PaymentMethods[r.PaymentMethod]; r.PaymentMethod != "" && (!known || f.Kind != "") {
		return false, nil
	}
	s, err := l.Script()
	return len(s.Rules) == 0, err
}

// countSend counts lookups apart from operations: they carry the same key.
func countSend(tx *bolt.Tx, key string, kind Kind) (uint64, error) {
	name := []byte("operation " + key)
	if kind == KindLookup {
		name = []byte("lookup " + key)
	}
	bucket := tx.Bucket(sendsBucket)
	var sent uint64
	if data := bucket.Get(name); len(data) == 8 {
		sent = binary.BigEndian.Uint64(data)
	}
	sent++
	return sent, bucket.Put(name, binary.BigEndian.AppendUint64(nil, sent))
}
