package idempotency

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Deriver makes keys and ids out of a key, so that whoever repeats a step, in
// whatever process, repeats it under the same name. Each derivation is an HMAC
// over the secret's version, the tenant, the key and what is derived: without
// the tenant, two tenants that use one key would replay each other's charge.
type Deriver struct {
	current int16
	secrets map[int16][]byte
}

// minSecretBytes is the shortest secret that HMAC-SHA-256 gets its strength from.
const minSecretBytes = 32

// NewDeriver reads [Config.Secrets]: versioned secrets, the one for new keys
// first, such as "v2:<hex>,v1:<hex>". Old ones stay as long as keys that used
// them may be pending. The error names versions, never secrets.
func NewDeriver(cfg Config) (*Deriver, error) {
	if cfg.Secrets == "" {
		return nil, errors.New("HOLDFAST_DERIVATION_SECRETS is not set: give it v1:<64 hex digits>, for example from `openssl rand -hex 32`")
	}
	d := &Deriver{secrets: make(map[int16][]byte)}
	for i, item := range strings.Split(cfg.Secrets, ",") {
		name, text, ok := strings.Cut(strings.TrimSpace(item), ":")
		if !ok {
			return nil, fmt.Errorf("HOLDFAST_DERIVATION_SECRETS: item %d is not of the form v1:<hex>", i+1)
		}
		version, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 16)
		if err != nil || version < 1 || !strings.HasPrefix(name, "v") {
			return nil, fmt.Errorf("HOLDFAST_DERIVATION_SECRETS: item %d has no version such as v1", i+1)
		}
		secret, err := hex.DecodeString(text)
		if err != nil || len(secret) < minSecretBytes {
			return nil, fmt.Errorf("HOLDFAST_DERIVATION_SECRETS: v%d is not at least %d bytes in hex", version, minSecretBytes)
		}
		if _, twice := d.secrets[int16(version)]; twice {
			return nil, fmt.Errorf("HOLDFAST_DERIVATION_SECRETS: v%d appears twice", version)
		}
		d.secrets[int16(version)] = secret
		if i == 0 {
			d.current = int16(version)
		}
	}
	return d, nil
}

// Child derives the key under which a step of this request calls the next
// service. The child of a UUIDv7 is a UUIDv7 with its timestamp, so that parent
// and child expire together; the child of an opaque key is opaque.
func (d *Deriver) Child(tenant string, parent Key, step string) Key {
	return d.child(d.current, tenant, parent, step)
}

// ProviderKey derives the key under which a step calls a system outside. It
// carries no timestamp: when our customers act is not theirs to know.
func (d *Deriver) ProviderKey(tenant string, parent Key, step string) string {
	return d.providerKey(d.current, tenant, parent, step)
}

// ResourceID derives the primary key of what this request creates, so that
// primary keys deduplicate for ever, even after a restore from backup has lost
// the idempotency key. It is a UUIDv7 with the parent's timestamp, or a UUIDv8
// (RFC 9562) for an opaque parent.
func (d *Deriver) ResourceID(tenant string, parent Key, kind string) uuid.UUID {
	sum := d.mac(d.current, "resource", tenant, parent, kind)
	if parent.v7 {
		return stamped(sum, parent.id)
	}
	id := uuid.UUID(sum[:16])
	setVersion(&id, 8)
	return id
}

func (d *Deriver) child(version int16, tenant string, parent Key, step string) Key {
	sum := d.mac(version, "child", tenant, parent, step)
	if parent.v7 {
		return keyOf(stamped(sum, parent.id))
	}
	return Key{text: "hf-" + base64.RawURLEncoding.EncodeToString(sum[:])}
}

func (d *Deriver) providerKey(version int16, tenant string, parent Key, step string) string {
	sum := d.mac(version, "provider", tenant, parent, step)
	return "hf_" + hex.EncodeToString(sum[:20])
}

// mac prefixes every part with its length, so that no two lists of parts read
// the same.
func (d *Deriver) mac(version int16, purpose, tenant string, parent Key, name string) [sha256.Size]byte {
	h := hmac.New(sha256.New, d.secrets[version])
	var b []byte
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	for _, part := range []string{purpose, tenant, parent.text, name} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	h.Write(b)
	return [sha256.Size]byte(h.Sum(nil))
}

// stamped makes a UUIDv7 with the timestamp of another and derived bits.
func stamped(sum [sha256.Size]byte, like uuid.UUID) uuid.UUID {
	id := uuid.UUID(sum[:16])
	copy(id[:6], like[:6])
	setVersion(&id, 7)
	return id
}

func setVersion(id *uuid.UUID, version byte) {
	id[6] = id[6]&0x0f | version<<4
	id[8] = id[8]&0x3f | 0x80
}
