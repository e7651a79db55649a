// Package page makes and reads page tokens (AIP-158). A token is opaque to
// clients: a versioned cursor that also names the query it belongs to, so that
// a token of one listing is refused by another one. It is a position, not a
// capability: queries carry the tenant themselves, and a forged token reaches
// nothing that its forger could not list.
package page

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// Cursor is a position in a listing: the sort keys of the last row before it.
type Cursor struct {
	// Time is the first sort key, to the microsecond; zero where a listing has
	// none.
	Time time.Time
	// ID is the second, and unique.
	ID string
}

// ErrInvalid is what a token that is not ours answers.
var ErrInvalid = apierror.New(apierror.ReasonInvalidPageToken,
	"the page token is not valid for this query; start again without one",
	apierror.WithField("page_token", "must be a next_page_token of the same query"))

const (
	version    = 1
	checkBytes = 8
	maxID      = 128
	// A token is version, check, time, id.
	headerBytes = 1 + checkBytes + 8
)

// Encode makes the token for what comes after the cursor. The filter is
// whatever else the query depends on, in any stable form.
func Encode(c Cursor, filter string) string {
	var micros int64
	if !c.Time.IsZero() {
		micros = c.Time.UnixMicro()
	}
	raw := make([]byte, headerBytes, headerBytes+len(c.ID))
	raw[0] = version
	binary.BigEndian.PutUint64(raw[1+checkBytes:], uint64(micros))
	raw = append(raw, c.ID...)
	check := checkOf(raw, filter)
	copy(raw[1:], check[:checkBytes])
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Decode reads a token that Encode made for the same filter. Anything else is
// ErrInvalid.
func Decode(token, filter string) (Cursor, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < headerBytes || len(raw) > headerBytes+maxID || raw[0] != version {
		return Cursor{}, ErrInvalid
	}
	check := checkOf(raw, filter)
	id := string(raw[headerBytes:])
	if string(raw[1:1+checkBytes]) != string(check[:checkBytes]) || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return Cursor{}, ErrInvalid
	}
	c := Cursor{ID: id}
	if micros := int64(binary.BigEndian.Uint64(raw[1+checkBytes:])); micros != 0 {
		c.Time = time.UnixMicro(micros).UTC()
		// The check is no secret: a time may still be none that a database has.
		if c.Time.Year() < 1 || c.Time.Year() > 9999 {
			return Cursor{}, ErrInvalid
		}
	}
	return c, nil
}

// checkOf covers everything but the check itself.
func checkOf(raw []byte, filter string) [sha256.Size]byte {
	h := sha256.New()
	h.Write(raw[:1])
	h.Write(raw[1+checkBytes:])
	h.Write([]byte{0})
	h.Write([]byte(filter))
	return [sha256.Size]byte(h.Sum(nil))
}
