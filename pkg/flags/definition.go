package flags

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// Flag names a flag: `orders-decline-message`.
type Flag string

// Definition is one flag as a file has it.
type Definition struct {
	// Description says what is different for a tenant that has the flag.
	Description string `yaml:"description"`
	// Owner is who decides about it and removes it.
	Owner string `yaml:"owner"`
	// Expires is the first day on which it must be gone.
	Expires Day `yaml:"expires"`
	// Percentage of the tenants that have it, 0 to 100, in steps of 0.01.
	Percentage float64 `yaml:"percentage"`
}

// Day is a date without a time, such as 2027-05-31.
type Day struct{ time.Time }

// UnmarshalYAML reads a date.
func (d *Day) UnmarshalYAML(node *yaml.Node) (err error) {
	d.Time, err = time.Parse(time.DateOnly, node.Value)
	return err
}

// Expired reports whether the flag should be gone.
func (d Definition) Expired(now time.Time) bool { return !now.UTC().Before(d.Expires.Time) }

var namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Parse reads a file of flags. Its error has everything that is wrong.
func Parse(content []byte) (map[Flag]Definition, error) {
	var document struct {
		Flags map[Flag]Definition `yaml:"flags"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// Nobody empties the file to turn everything off: it was cut short.
	if len(document.Flags) == 0 {
		return nil, errors.New("it has no flags")
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one YAML document")
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(document.Flags)) {
		flag := document.Flags[name]
		problem := func(text string) { problems = append(problems, fmt.Errorf("flag %q: %s", name, text)) }
		if !namePattern.MatchString(string(name)) {
			problem("the name must be words with hyphens")
		}
		if flag.Description == "" {
			problem("it has no description")
		}
		if flag.Owner == "" {
			problem("it has no owner")
		}
		if flag.Expires.IsZero() {
			problem("it has no expiry")
		}
		if math.IsNaN(flag.Percentage) || flag.Percentage < 0 || flag.Percentage > 100 {
			problem("the percentage must be 0 to 100")
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return document.Flags, nil
}

// steps is how finely tenants are told apart: one is 0.01 %.
const steps = 10_000

// includes reports whether a tenant is among the flag's percentage. A tenant
// stays where its hash puts it, so that a growing percentage only adds tenants,
// a shrinking one only takes away those that came last, and every replica says
// the same. The flag's name is hashed too: otherwise the same tenants would be
// first with everything.
func (d Definition) includes(name Flag, tenant string) bool {
	sum := sha256.Sum256([]byte(string(name) + "\x00" + tenant))
	place := binary.BigEndian.Uint64(sum[:8]) % steps
	return float64(place) < math.Round(d.Percentage*steps/100)
}
