package idempotencytest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// Suite checks the whole state table of a method:
//
//	key                                    answer                          effects
//	unused                                 the method's own                one
//	used, same payload                     the same bytes, marked replayed none
//	used, over the other transport         the same answer                 none
//	used, but the world would now refuse   the same bytes                  none
//	used, other payload, valid or not      KEY_REUSED 422, tells nothing   none
//	unused, invalid payload                400, the key stays unused       none
//	used by another tenant                 as if unused                    that tenant's
//	in flight                              KEY_IN_FLIGHT 409, retry after  none
//	raced for                              one set of bytes                one
//	missing, malformed, sent twice         400                             none
//	expired, from the future               410, 400, with the server time  none
func Suite(t *testing.T, s Subject) {
	transports := map[string]transport{"gRPC": overGRPC{s}}
	if s.HTTP != "" {
		transports["HTTP"] = overHTTP{s}
	}
	for name, tr := range transports {
		t.Run(name, func(t *testing.T) {
			for _, row := range table {
				t.Run(row.name, func(t *testing.T) { row.check(t, &bench{Subject: s, transport: tr}) })
			}
		})
	}
	if s.HTTP != "" {
		t.Run("JSON and proto callers share a key", func(t *testing.T) { sharedKey(t, s) })
	}
}

// bench is one subject over one transport.
type bench struct {
	Subject
	transport
}

var table = []struct {
	name  string
	check func(*testing.T, *bench)
}{
	{"a UUIDv7 key is executed once and replayed byte for byte", func(t *testing.T, b *bench) { b.replays(t, uuidv7()) }},
	{"an opaque key is executed once and replayed byte for byte", func(t *testing.T, b *bench) { b.replays(t, opaque()) }},
	{"a stored answer wins over a state that has changed", obstructed},
	{"a used key with another payload is refused and tells nothing", mismatched},
	{"a refused payload leaves the key unused", refused},
	{"a key belongs to its tenant", otherTenant},
	{"a key in flight asks to come back", inFlight},
	{"duplicates at one instant have one effect and one answer", raced},
	{"a missing or malformed key is refused", malformed},
	{"an expired key is never executed", func(t *testing.T, b *bench) {
		b.untimely(t, time.Now().Add(-30*24*time.Hour), apierror.ReasonKeyExpired)
	}},
	{"a key from the future is refused", func(t *testing.T, b *bench) {
		b.untimely(t, time.Now().Add(time.Hour), apierror.ReasonKeyFromFuture)
	}},
}

func uuidv7() string { return idempotency.NewKey().String() }
func opaque() string { return "suite-" + uuid.NewString() }

// ok sends a request that must succeed.
func (b *bench) ok(t testing.TB, request proto.Message, key string) answer {
	t.Helper()
	a := b.send(t, b.Token, request, key)
	require.Empty(t, a.reason, a.text)
	return a
}

// changesNothing checks that no effect happens in f.
func (b *bench) changesNothing(t testing.TB, f func()) {
	t.Helper()
	before := b.Effects(t)
	f()
	require.Equal(t, before, b.Effects(t), "something happened that must not")
}

func (b *bench) replays(t *testing.T, key string) {
	request := b.Request(t)
	before := b.Effects(t)
	first := b.ok(t, request, key)
	require.False(t, first.replayed)
	require.Equal(t, before+1, b.Effects(t))
	b.changesNothing(t, func() {
		for range 3 {
			repeat := b.ok(t, request, key)
			require.True(t, repeat.replayed)
			require.Equal(t, first.body, repeat.body)
			require.Equal(t, first.status, repeat.status)
		}
	})
}

func obstructed(t *testing.T, b *bench) {
	require.NotNil(t, b.Obstruct, "the row needs something that refuses the request")
	request, key := b.Request(t), uuidv7()
	first := b.ok(t, request, key)
	undo := b.Obstruct(t, request)
	defer undo()
	require.NotEmpty(t, b.send(t, b.Token, request, uuidv7()).reason, "the obstruction does not obstruct")
	repeat := b.ok(t, request, key)
	require.True(t, repeat.replayed)
	require.Equal(t, first.body, repeat.body)
}

func mismatched(t *testing.T, b *bench) {
	request, key := b.Request(t), uuidv7()
	b.ok(t, request, key)
	for name, change := range map[string]func(proto.Message){"another payload": b.Mutate, "an invalid payload": b.Invalidate} {
		other := proto.Clone(request)
		change(other)
		b.changesNothing(t, func() {
			a := b.send(t, b.Token, other, key)
			require.Equal(t, apierror.ReasonKeyReused, a.reason, "%s: %s", name, a.text)
			require.Equal(t, 422, a.status)
			for _, secret := range words(request) {
				require.NotContains(t, a.text, secret, "the refusal tells of the stored request")
			}
		})
	}
}

// words are the strings that a request holds and that can be looked for.
func words(request proto.Message) []string {
	text, err := protojson.Marshal(request)
	if err != nil {
		return nil
	}
	var long []string
	for _, w := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(`{}[]":, `, r) }) {
		if strings.ContainsAny(w, "-_@") && len(w) > 6 {
			long = append(long, w)
		}
	}
	return long
}

func refused(t *testing.T, b *bench) {
	request, key := b.Request(t), uuidv7()
	invalid := proto.Clone(request)
	b.Invalidate(invalid)
	b.changesNothing(t, func() {
		a := b.send(t, b.Token, invalid, key)
		require.Equal(t, 400, a.status, a.text)
	})
	require.False(t, b.ok(t, request, key).replayed)
}

func otherTenant(t *testing.T, b *bench) {
	request, key := b.Request(t), uuidv7()
	first := b.ok(t, request, key)
	theirs := b.send(t, b.OtherToken, request, key)
	require.False(t, theirs.replayed)
	require.NotEqual(t, first.body, theirs.body, "one tenant was answered with what is another's")
	require.Equal(t, first.body, b.ok(t, request, key).body)
}

func inFlight(t *testing.T, b *bench) {
	request, key := b.Request(t), idempotency.NewKey()
	tx, err := b.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", idempotency.AdvisoryLock(b.Tenant, key))
	require.NoError(t, err)
	b.changesNothing(t, func() {
		a := b.send(t, b.Token, request, key.String())
		require.Equal(t, apierror.ReasonKeyInFlight, a.reason, a.text)
		require.Equal(t, 409, a.status)
		require.Positive(t, a.retryAfter)
	})
	require.NoError(t, tx.Rollback(t.Context()))
	require.False(t, b.ok(t, request, key.String()).replayed)
}

func raced(t *testing.T, b *bench) {
	const racers = 8
	request, key := b.Request(t), uuidv7()
	before := b.Effects(t)
	answers := make([]answer, racers)
	var done sync.WaitGroup
	for i := range racers {
		done.Go(func() {
			// A client that is told to come back does.
			for a := b.send(t, b.Token, request, key); ; a = b.send(t, b.Token, request, key) {
				if answers[i] = a; a.reason != apierror.ReasonKeyInFlight || t.Context().Err() != nil {
					return
				}
			}
		})
	}
	done.Wait()
	for _, a := range answers {
		require.Empty(t, a.reason, a.text)
		require.Equal(t, answers[0].body, a.body)
	}
	require.Equal(t, before+1, b.Effects(t))
}

func malformed(t *testing.T, b *bench) {
	request := b.Request(t)
	for name, c := range map[string]struct {
		keys   []string
		reason apierror.Reason
	}{
		"none":     {nil, apierror.ReasonKeyMissing},
		"too long": {[]string{strings.Repeat("k", idempotency.MaxKeyLength+1)}, apierror.ReasonKeyMalformed},
		"a space":  {[]string{"my key"}, apierror.ReasonKeyMalformed},
		"two keys": {[]string{"one", "two"}, apierror.ReasonKeyMalformed},
	} {
		b.changesNothing(t, func() {
			a := b.send(t, b.Token, request, c.keys...)
			require.Equal(t, c.reason, a.reason, name)
			require.Equal(t, 400, a.status, name)
		})
	}
}

func (b *bench) untimely(t *testing.T, minted time.Time, want apierror.Reason) {
	request := b.Request(t)
	b.changesNothing(t, func() {
		a := b.send(t, b.Token, request, idempotency.NewKeyAt(minted).String())
		require.Equal(t, want, a.reason, a.text)
		at, err := time.Parse(time.RFC3339Nano, a.serverTime)
		require.NoError(t, err, "the answer says what time it is")
		require.WithinDuration(t, time.Now(), at, time.Minute)
	})
}

// sharedKey sends one request over both transports, in both orders, and the key
// bare and quoted.
func sharedKey(t *testing.T, s Subject) {
	rpc, web := &bench{s, overGRPC{s}}, &bench{s, overHTTP{s}}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(methodOf(t, s.Method).Output().FullName())
	require.NoError(t, err)
	same := func(t *testing.T, wire, text []byte) {
		t.Helper()
		ofWire, ofText := mt.New().Interface(), mt.New().Interface()
		require.NoError(t, proto.Unmarshal(wire, ofWire))
		require.NoError(t, protojson.Unmarshal(text, ofText))
		require.True(t, proto.Equal(ofWire, ofText), "%v\n%v", ofWire, ofText)
	}
	t.Run("proto first", func(t *testing.T) {
		request, key := s.Request(t), opaque()
		first := rpc.ok(t, request, key)
		repeat := web.ok(t, request, `"`+key+`"`)
		require.True(t, repeat.replayed)
		same(t, first.body, repeat.body)
	})
	t.Run("JSON first", func(t *testing.T) {
		request, key := s.Request(t), uuidv7()
		first := web.ok(t, request, key)
		repeat := rpc.ok(t, request, key)
		require.True(t, repeat.replayed)
		same(t, repeat.body, first.body)
	})
}
