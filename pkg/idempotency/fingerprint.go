package idempotency

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Fingerprint tells whether two requests ask for the same thing. It is stable
// across JSON and gRPC arrival, map and field order, and schema versions: a
// server that knows a field and one that carries it as an unknown field agree.
// Protobuf's own serialization promises none of this.
//
// Two limits are by design, and both refuse rather than confuse: inside a field
// that this server does not know, the order of bytes counts (it cannot tell a
// map from a list), and so does a default value spelled out.
type Fingerprint struct {
	// Version names the algorithm. A stored row is compared in its own version.
	Version int16
	// Sum is the digest.
	Sum [sha256.Size]byte
}

// writeVersion is the version that new rows get. A new version is first only
// read by a whole release, and written from the next one on: during a rolling
// deploy every server must be able to verify every row.
const writeVersion int16 = 1

// readVersions are the other versions that rows may still have.
var readVersions []int16

// FingerprintOf returns the fingerprint of a request to a method.
func FingerprintOf(method string, request proto.Message) Fingerprint {
	f, _ := fingerprintIn(writeVersion, method, request)
	return f
}

// fingerprintIn returns false if this release does not know the version.
func fingerprintIn(version int16, method string, request proto.Message) (Fingerprint, bool) {
	if version != 1 {
		return Fingerprint{}, false
	}
	buf := make([]byte, 0, 512)
	buf = append(buf, "holdfast idempotency fingerprint 1\x00"...)
	buf = protowire.AppendString(buf, method)
	buf = appendCanonical(buf, request.ProtoReflect())
	return Fingerprint{Version: 1, Sum: sha256.Sum256(buf)}, true
}

// appendCanonical appends m in wire form with fields in ascending order of
// number, known and unknown alike, maps in order of key, packed scalars, and
// defaults without presence left out. The order within one number is kept.
func appendCanonical(b []byte, m protoreflect.Message) []byte {
	md := m.Descriptor()
	if len(m.GetUnknown()) > 0 || md.ExtensionRanges().Len() > 0 {
		return appendMerged(b, m)
	}
	for _, fd := range byNumber(md) {
		if m.Has(fd) {
			b = appendField(b, fd, m.Get(fd))
		}
	}
	return b
}

var fieldsByNumber sync.Map // of protoreflect.MessageDescriptor to []protoreflect.FieldDescriptor

// byNumber returns the fields of a message in ascending order of number.
func byNumber(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if sorted, ok := fieldsByNumber.Load(md); ok {
		return sorted.([]protoreflect.FieldDescriptor)
	}
	fields := md.Fields()
	sorted := make([]protoreflect.FieldDescriptor, fields.Len())
	for i := range sorted {
		sorted[i] = fields.Get(i)
	}
	slices.SortFunc(sorted, func(x, y protoreflect.FieldDescriptor) int { return cmp.Compare(x.Number(), y.Number()) })
	fieldsByNumber.Store(md, sorted)
	return sorted
}

// record is one field of a message: either a known one or the bytes of an
// unknown one.
type record struct {
	number protowire.Number
	field  protoreflect.FieldDescriptor
	value  protoreflect.Value
	raw    []byte
}

// appendMerged is appendCanonical for a message with fields that its descriptor
// does not list.
func appendMerged(b []byte, m protoreflect.Message) []byte {
	var records []record
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		records = append(records, record{number: fd.Number(), field: fd, value: v})
		return true
	})
	for raw := m.GetUnknown(); len(raw) > 0; {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			// Unmarshalling checked it; a hand-made message may still hold
			// anything, and anything is compared as it is.
			records = append(records, record{number: math.MaxInt32, raw: raw})
			break
		}
		records = append(records, record{number: number, raw: raw[:n]})
		raw = raw[n:]
	}
	slices.SortStableFunc(records, func(x, y record) int { return cmp.Compare(x.number, y.number) })
	for _, r := range records {
		if r.field == nil {
			b = append(b, r.raw...)
			continue
		}
		b = appendField(b, r.field, r.value)
	}
	return b
}

func appendField(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch {
	case fd.IsMap():
		return appendMap(b, fd, v.Map())
	case fd.IsList() && fd.IsPacked():
		list := v.List()
		var packed []byte
		for i := range list.Len() {
			packed = appendScalar(packed, fd.Kind(), list.Get(i))
		}
		b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
		return protowire.AppendBytes(b, packed)
	case fd.IsList():
		list := v.List()
		for i := range list.Len() {
			b = appendSingle(b, fd, list.Get(i))
		}
		return b
	default:
		return appendSingle(b, fd, v)
	}
}

// appendMap writes entries in order of their encoded key. Both halves of an
// entry are always written, as every implementation of protobuf does.
func appendMap(b []byte, fd protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	type entry struct{ key, value []byte }
	entries := make([]entry, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries = append(entries, entry{
			key:   appendSingle(nil, fd.MapKey(), k.Value()),
			value: appendSingle(nil, fd.MapValue(), v),
		})
		return true
	})
	slices.SortFunc(entries, func(x, y entry) int { return slices.Compare(x.key, y.key) })
	for _, e := range entries {
		b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(len(e.key)+len(e.value)))
		b = append(b, e.key...)
		b = append(b, e.value...)
	}
	return b
}

// appendSingle writes one tagged value.
func appendSingle(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
		return appendNested(b, v.Message())
	case protoreflect.GroupKind:
		b = protowire.AppendTag(b, fd.Number(), protowire.StartGroupType)
		b = appendCanonical(b, v.Message())
		return protowire.AppendTag(b, fd.Number(), protowire.EndGroupType)
	default:
		b = protowire.AppendTag(b, fd.Number(), wireType(fd.Kind()))
		return appendScalar(b, fd.Kind(), v)
	}
}

// appendNested writes a message behind its length, which is known only after:
// the message is moved to make room for it.
func appendNested(b []byte, m protoreflect.Message) []byte {
	start := len(b)
	b = appendCanonical(b, m)
	length := len(b) - start
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(length))
	b = append(b, prefix[:n]...)
	copy(b[start+n:], b[start:start+length])
	copy(b[start:], prefix[:n])
	return b
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind:
		return protowire.BytesType
	default:
		return protowire.VarintType
	}
}

// appendScalar writes one value without its tag.
func appendScalar(b []byte, k protoreflect.Kind, v protoreflect.Value) []byte {
	switch k {
	case protoreflect.BoolKind:
		return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool()))
	case protoreflect.EnumKind:
		return protowire.AppendVarint(b, uint64(v.Enum()))
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(b, uint64(v.Int()))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(b, protowire.EncodeZigZag(v.Int()))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(b, v.Uint())
	case protoreflect.Sfixed32Kind:
		return binary.LittleEndian.AppendUint32(b, uint32(v.Int()))
	case protoreflect.Fixed32Kind:
		return binary.LittleEndian.AppendUint32(b, uint32(v.Uint()))
	case protoreflect.Sfixed64Kind:
		return binary.LittleEndian.AppendUint64(b, uint64(v.Int()))
	case protoreflect.Fixed64Kind:
		return binary.LittleEndian.AppendUint64(b, v.Uint())
	case protoreflect.FloatKind:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v.Float())))
	case protoreflect.DoubleKind:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case protoreflect.StringKind:
		return protowire.AppendString(b, v.String())
	default:
		return protowire.AppendBytes(b, v.Bytes())
	}
}
