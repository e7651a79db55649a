package idempotency

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// MaxKeyLength is the longest key accepted, in bytes.
const MaxKeyLength = 255

var (
	// ErrKeyMissing says that a request which needs a key has none.
	ErrKeyMissing = errors.New("idempotency key is missing")
	// ErrKeyMalformed says that a key is too long or holds characters other
	// than visible ASCII.
	ErrKeyMalformed = errors.New("idempotency key is malformed")
)

// Key names one intent of a client. There are two kinds:
//
//   - a UUIDv7 in canonical lower case carries the time it was minted, which is
//     what its retention counts from;
//   - every other key is opaque: compared byte for byte, its retention counting
//     from its first use.
//
// The zero Key is not a key. Keys are comparable with ==.
type Key struct {
	text string
	id   uuid.UUID
	v7   bool
}

// ParseKey reads a key of 1 to [MaxKeyLength] visible ASCII characters. The
// error wraps [ErrKeyMissing] or [ErrKeyMalformed] and never repeats the key.
func ParseKey(s string) (Key, error) {
	if s == "" {
		return Key{}, ErrKeyMissing
	}
	if len(s) > MaxKeyLength {
		return Key{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrKeyMalformed, len(s), MaxKeyLength)
	}
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return Key{}, fmt.Errorf("%w: byte %d is not a visible ASCII character", ErrKeyMalformed, i)
		}
	}
	id, ok := canonicalUUIDv7(s)
	return Key{text: s, id: id, v7: ok}, nil
}

// NewKey mints a UUIDv7 key. Its random half comes from crypto/rand.
func NewKey() Key {
	return keyOf(uuid.Must(uuid.NewV7()))
}

// NewKeyAt mints a key as if at another time, for tests and for replaying old
// work.
func NewKeyAt(minted time.Time) Key {
	id := uuid.New()
	putTimestamp(&id, minted.UnixMilli())
	setVersion(&id, 7)
	return keyOf(id)
}

func keyOf(id uuid.UUID) Key {
	return Key{text: id.String(), id: id, v7: true}
}

// String returns the key exactly as the client sent it.
func (k Key) String() string { return k.text }

// UUID returns the key as a UUID and true if it is a canonical UUIDv7.
func (k Key) UUID() (uuid.UUID, bool) { return k.id, k.v7 }

// Minted returns when a UUIDv7 key was made, to the millisecond, and false for
// an opaque key.
func (k Key) Minted() (time.Time, bool) {
	if !k.v7 {
		return time.Time{}, false
	}
	return time.UnixMilli(timestampOf(k.id)).UTC(), true
}

// UnquoteHeader returns the value of an HTTP Idempotency-Key header without the
// quotes that draft-ietf-httpapi-idempotency-key-header asks for (an sf-string
// of RFC 8941). Anything that is not one whole sf-string is returned as it is,
// since most clients send the key bare.
func UnquoteHeader(s string) string {
	s = strings.Trim(s, " \t")
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	inner := s[1 : len(s)-1]
	if !strings.ContainsAny(inner, `"\`) {
		return inner
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; c {
		case '"':
			return s
		case '\\':
			i++
			if i == len(inner) || inner[i] != '"' && inner[i] != '\\' {
				return s
			}
			b.WriteByte(inner[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// canonicalUUIDv7 is stricter than uuid.Parse: two spellings of one UUID must
// stay two keys, or a client that changes the case would be answered by rows
// of another.
func canonicalUUIDv7(s string) (uuid.UUID, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || s[14] != '7' {
		return uuid.UUID{}, false
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
			digits[n] = c
			n++
		default:
			return uuid.UUID{}, false
		}
	}
	var id uuid.UUID
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return uuid.UUID{}, false
	}
	return id, id.Variant() == uuid.RFC4122
}

// timestampOf returns the Unix milliseconds in the first 48 bits of a UUIDv7.
func timestampOf(id uuid.UUID) int64 {
	return int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 |
		int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
}

func putTimestamp(id *uuid.UUID, ms int64) {
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
}
