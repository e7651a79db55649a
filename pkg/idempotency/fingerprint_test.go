package idempotency_test

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func decode(t testing.TB, md protoreflect.MessageDescriptor, b []byte) proto.Message {
	t.Helper()
	m := dynamicpb.NewMessage(md)
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// shuffled puts the fields of a message in another order, keeping that of equal
// numbers: what any implementation of protobuf may do.
func shuffled(b []byte) []byte {
	byNumber := map[protowire.Number][]byte{}
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		byNumber[number] = append(byNumber[number], b[:n]...)
		b = b[n:]
	}
	numbers := make([]protowire.Number, 0, len(byNumber))
	for n := range byNumber {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	rand.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	var out []byte
	for _, n := range numbers {
		out = append(out, byNumber[n]...)
	}
	return out
}

func TestTheFingerprintIsOfWhatIsAskedAndNotOfHowItArrived(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMessage(rt, requestNext, 0)
		want := idempotency.FingerprintOf(method, m)

		json, err := protojson.Marshal(m)
		require.NoError(t, err)
		fromJSON := dynamicpb.NewMessage(requestNext)
		require.NoError(t, protojson.Unmarshal(json, fromJSON))
		require.Equal(t, want, idempotency.FingerprintOf(method, fromJSON), "JSON")

		require.Equal(t, want, idempotency.FingerprintOf(method, decode(t, requestNext, shuffled(wire(t, m, false)))), "field and map order")
	})
}

func TestReleasesWithAndWithoutAFieldAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMessage(rt, requestNext, 0)
		want := idempotency.FingerprintOf(method, m)
		older := decode(t, requestNow, shuffled(wire(t, m, true)))
		require.Equal(t, want, idempotency.FingerprintOf(method, older))
	})
}

func TestDifferentRequestsHaveDifferentFingerprints(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawMessage(rt, requestNext, 0), drawMessage(rt, requestNext, 0)
		same := idempotency.FingerprintOf(method, a) == idempotency.FingerprintOf(method, b)
		require.Equal(t, proto.Equal(a, b), same)
		require.NotEqual(t, idempotency.FingerprintOf(method, a), idempotency.FingerprintOf(method+"2", a))
	})
	set := func(values ...int64) proto.Message {
		m := dynamicpb.NewMessage(requestNow)
		for _, v := range values {
			m.Mutable(requestNow.Fields().ByName("numbers")).List().Append(protoreflect.ValueOfInt64(v))
		}
		return m
	}
	require.NotEqual(t, idempotency.FingerprintOf(method, set(1, 2)), idempotency.FingerprintOf(method, set(2, 1)), "the order of a list counts")
}

func TestVersionOneNeverChanges(t *testing.T) {
	// Rows with this fingerprint are in databases. If this fails, it is a new
	// version: see writeVersion.
	f := idempotency.FingerprintOf(method, aRequest())
	require.EqualValues(t, 1, f.Version)
	require.Equal(t, "76285d9f18d4197c0a79652f8ffe209ef196d10d52c8207d5b773cdb0a4ca148", hex.EncodeToString(f.Sum[:]))
}

func TestARowIsVerifiedInItsOwnVersion(t *testing.T) {
	db := newDatabase(t)
	call := aCall()
	_, err := db.charge(t.Context(), call)
	require.NoError(t, err)

	t.Run("one that this release knows", func(t *testing.T) {
		// The next release, that writes version 2 and still reads version 1.
		next := again(call)
		v1 := next.Fingerprint
		next.Fingerprint.Version, next.Fingerprint.Sum = 2, [32]byte{2}
		idempotency.AlsoIn(next, v1)
		o, err := db.charge(t.Context(), next)
		require.NoError(t, err)
		require.True(t, o.Replayed)

		v1.Sum[0]++
		mutated := again(call)
		mutated.Fingerprint = next.Fingerprint
		idempotency.AlsoIn(mutated, v1)
		_, err = db.charge(t.Context(), mutated)
		requireReason(t, err, "KEY_REUSED")
	})
	t.Run("one that only a newer release knows", func(t *testing.T) {
		db.exec(t, "UPDATE idempotency_keys SET fpv = 2")
		_, err := db.charge(t.Context(), again(call))
		requireReason(t, err, "DEPENDENCY_UNAVAILABLE")
	})
}

func FuzzFingerprint(f *testing.F) {
	f.Add(wire(f, aRequest(), true))
	f.Add([]byte{0x0a, 0x01, 'x', 0x7a, 0x02, 'y', 'z', 0x0a, 0x01, 'w'})
	f.Add([]byte{0x7b, 0x08, 0x01, 0x7c}) // a group that nobody knows
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &paymentsv1.ChargePaymentRequest{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		want := idempotency.FingerprintOf(method, m)
		if got := idempotency.FingerprintOf(method, proto.Clone(m)); got != want {
			t.Fatal("a clone differs")
		}
		again := &paymentsv1.ChargePaymentRequest{}
		if err := proto.Unmarshal(wire(t, m, false), again); err != nil {
			t.Fatal(err)
		}
		if idempotency.FingerprintOf(method, again) != want {
			t.Fatal("encoding and decoding makes a difference")
		}
	})
}
