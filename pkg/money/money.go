// Package money holds amounts as integers of a currency's minor unit. There
// are no floats, and no silent overflow: what does not fit is an error.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"google.golang.org/genproto/googleapis/type/money"
)

// Errors of amounts. Wrapped errors say which amount.
var (
	// ErrCurrency says that a currency is not supported, or that two amounts
	// have different ones.
	ErrCurrency = errors.New("unsupported currency")
	// ErrOverflow says that an amount does not fit.
	ErrOverflow = errors.New("amount out of range")
	// ErrPrecision says that an amount is finer than the currency's minor unit.
	ErrPrecision = errors.New("amount is finer than the currency's minor unit")
	// ErrMalformed says that units and nanos contradict each other.
	ErrMalformed = errors.New("malformed amount")
)

// exponents has the supported currencies (ISO 4217) and how many decimal
// digits their minor unit has.
var exponents = map[string]int{"EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "USD": 2}

// Amount is an amount of money.
type Amount struct {
	// Currency is an ISO 4217 code in upper case.
	Currency string
	// Minor counts the currency's minor unit: cents for USD, yen for JPY.
	Minor int64
}

// Supported says whether amounts of the currency can be taken.
func Supported(currency string) bool {
	_, ok := exponents[currency]
	return ok
}

// Digits returns how many decimal digits amounts of the currency have, and
// whether it is supported.
func Digits(currency string) (digits int, ok bool) {
	digits, ok = exponents[currency]
	return digits, ok
}

// nano is how many nanos one unit has.
const nano = 1_000_000_000

// perUnit returns how many minor units one unit of the currency has.
func perUnit(currency string) (int64, error) {
	exponent, ok := exponents[currency]
	if !ok {
		return 0, fmt.Errorf("%w: %q", ErrCurrency, currency)
	}
	n := int64(1)
	for range exponent {
		n *= 10
	}
	return n, nil
}

// FromProto reads an amount, exactly or not at all.
func FromProto(m *money.Money) (Amount, error) {
	scale, err := perUnit(m.GetCurrencyCode())
	if err != nil {
		return Amount{}, err
	}
	units, nanos := m.GetUnits(), int64(m.GetNanos())
	if nanos <= -nano || nanos >= nano || (units > 0 && nanos < 0) || (units < 0 && nanos > 0) {
		return Amount{}, fmt.Errorf("%w: %d units and %d nanos", ErrMalformed, units, nanos)
	}
	if nanos%(nano/scale) != 0 {
		return Amount{}, fmt.Errorf("%w: %d nanos of %s", ErrPrecision, nanos, m.GetCurrencyCode())
	}
	whole, ok := multiply(units, scale)
	if !ok {
		return Amount{}, fmt.Errorf("%w: %d %s", ErrOverflow, units, m.GetCurrencyCode())
	}
	minor, ok := add(whole, nanos/(nano/scale))
	if !ok {
		return Amount{}, fmt.Errorf("%w: %d %s", ErrOverflow, units, m.GetCurrencyCode())
	}
	return Amount{Currency: m.GetCurrencyCode(), Minor: minor}, nil
}

// Proto returns the amount in the form of the API; nil for a currency that is
// not supported, which [FromProto] never returns.
func (a Amount) Proto() *money.Money {
	scale, err := perUnit(a.Currency)
	if err != nil {
		return nil
	}
	return &money.Money{
		CurrencyCode: a.Currency,
		Units:        a.Minor / scale,
		Nanos:        int32(a.Minor % scale * (nano / scale)),
	}
}

// Add returns the sum, or ErrOverflow, or ErrCurrency when the currencies
// differ.
func (a Amount) Add(b Amount) (Amount, error) {
	if a.Currency != b.Currency {
		return Amount{}, fmt.Errorf("%w: %s and %s cannot be added", ErrCurrency, a.Currency, b.Currency)
	}
	sum, ok := add(a.Minor, b.Minor)
	if !ok {
		return Amount{}, fmt.Errorf("%w: %v plus %v", ErrOverflow, a, b)
	}
	return Amount{Currency: a.Currency, Minor: sum}, nil
}

// Mul returns n times the amount, or ErrOverflow.
func (a Amount) Mul(n int64) (Amount, error) {
	product, ok := multiply(a.Minor, n)
	if !ok {
		return Amount{}, fmt.Errorf("%w: %v times %d", ErrOverflow, a, n)
	}
	return Amount{Currency: a.Currency, Minor: product}, nil
}

// String returns the amount for logs, such as "USD 12.34".
func (a Amount) String() string {
	exponent := exponents[a.Currency]
	if exponent == 0 {
		return fmt.Sprintf("%s %d", a.Currency, a.Minor)
	}
	scale := uint64(math.Pow10(exponent))
	magnitude, sign := uint64(a.Minor), ""
	if a.Minor < 0 {
		magnitude, sign = -magnitude, "-"
	}
	return fmt.Sprintf("%s %s%d.%0*d", a.Currency, sign, magnitude/scale, exponent, magnitude%scale)
}

func add(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

func multiply(a, b int64) (int64, bool) {
	negative := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	switch {
	case hi != 0:
		return 0, false
	case negative && lo <= 1<<63:
		return -int64(lo), true
	case !negative && lo <= math.MaxInt64:
		return int64(lo), true
	default:
		return 0, false
	}
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}
