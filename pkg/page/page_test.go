package page_test

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/page"
)

var somewhere = page.Cursor{
	Time: time.Date(2026, time.March, 4, 5, 6, 7, 891_234_000, time.UTC),
	ID:   "019539f2-7a3c-7bbb-8aaa-0123456789ab",
}

func TestATokenLeadsBackToItsPlace(t *testing.T) {
	for name, cursor := range map[string]page.Cursor{
		"time and id":    somewhere,
		"id only":        {ID: "espresso-beans"},
		"end of time":    {Time: time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC), ID: somewhere.ID},
		"before 1970":    {Time: time.Date(1815, time.December, 10, 0, 0, 0, 0, time.UTC), ID: "ada"},
		"longest id":     {ID: strings.Repeat("x", 128)},
		"nothing at all": {},
	} {
		token := page.Encode(cursor, "orders/acme/PAID")
		require.LessOrEqual(t, len(token), 512, "%s: the contract allows no more", name)
		got, err := page.Decode(token, "orders/acme/PAID")
		require.NoError(t, err, name)
		require.Equal(t, cursor, got, name)
	}
}

func TestATokenOfAnotherQueryIsRefused(t *testing.T) {
	token := page.Encode(somewhere, "orders/acme/PAID")
	for _, other := range []string{"orders/globex/PAID", "orders/acme/", "payments/acme/PAID", ""} {
		_, err := page.Decode(token, other)
		require.ErrorIs(t, err, page.ErrInvalid, other)
	}
}

func TestWhatIsNoTokenOfOursIsRefused(t *testing.T) {
	const filter = "f"
	raw, err := base64.RawURLEncoding.DecodeString(page.Encode(somewhere, filter))
	require.NoError(t, err)
	bad := map[string]string{
		"empty":           "",
		"not base64":      "%%%",
		"padded":          base64.URLEncoding.EncodeToString(append(raw, 'x')),
		"too short":       base64.RawURLEncoding.EncodeToString(raw[:5]),
		"cut":             base64.RawURLEncoding.EncodeToString(raw[:len(raw)-1]),
		"id too long":     page.Encode(page.Cursor{ID: strings.Repeat("x", 129)}, filter),
		"id with a NUL":   page.Encode(page.Cursor{ID: "a\x00b"}, filter),
		"id not UTF-8":    page.Encode(page.Cursor{ID: "\xff"}, filter),
		"beyond any year": page.Encode(page.Cursor{Time: time.UnixMicro(math.MaxInt64)}, filter),
		"before any year": page.Encode(page.Cursor{Time: time.UnixMicro(math.MinInt64)}, filter),
	}
	for name, token := range bad {
		_, err := page.Decode(token, filter)
		require.ErrorIs(t, err, page.ErrInvalid, name)
	}
	// Base64 has bits to spare at the end of some lengths: they must be zero.
	short := page.Encode(page.Cursor{ID: "ab"}, filter)
	require.NotZero(t, base64.RawURLEncoding.DecodedLen(len(short))%3, "else there are none here")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, short[len(short)-1])
	_, err = page.Decode(short[:len(short)-1]+alphabet[last+1:last+2], filter)
	require.ErrorIs(t, err, page.ErrInvalid, "a second spelling")
	for i := range raw { // version, check, time and id are all covered
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		_, err := page.Decode(base64.RawURLEncoding.EncodeToString(changed), filter)
		require.ErrorIs(t, err, page.ErrInvalid, "byte %d", i)
	}
}

func TestARefusalNamesTheField(t *testing.T) {
	_, err := page.Decode("nonsense", "")
	reason, ok := apierror.ReasonOf(err)
	require.True(t, ok)
	require.Equal(t, apierror.ReasonInvalidPageToken, reason)
	require.Equal(t, "page_token", apierror.From(err).Violations()[0].Field)
}

// FuzzDecode: no input breaks it, and a token has one spelling.
func FuzzDecode(f *testing.F) {
	f.Add(page.Encode(somewhere, "f"), "f")
	f.Add(page.Encode(page.Cursor{}, ""), "")
	f.Add("AQ", "f")
	f.Fuzz(func(t *testing.T, token, filter string) {
		cursor, err := page.Decode(token, filter)
		if err != nil {
			require.ErrorIs(t, err, page.ErrInvalid)
			return
		}
		require.Equal(t, token, page.Encode(cursor, filter))
	})
}

// FuzzRoundTrip: whatever is put into a token comes out of it.
func FuzzRoundTrip(f *testing.F) {
	f.Add(int64(1), "id", "filter")
	f.Fuzz(func(t *testing.T, micros int64, id, filter string) {
		cursor := page.Cursor{Time: time.UnixMicro(micros).UTC(), ID: id}
		got, err := page.Decode(page.Encode(cursor, filter), filter)
		if err != nil || micros == 0 { // 1970 itself stands for no time
			return
		}
		require.Equal(t, cursor, got)
	})
}
