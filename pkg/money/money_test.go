package money_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	moneypb "google.golang.org/genproto/googleapis/type/money"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

func TestFromProtoIsExactOrAnError(t *testing.T) {
	for name, row := range map[string]struct {
		currency string
		units    int64
		nanos    int32
		minor    int64
		err      error
	}{
		"cents":                     {"USD", 12, 340_000_000, 1234, nil},
		"one cent":                  {"EUR", 0, 10_000_000, 1, nil},
		"negative":                  {"GBP", -12, -50_000_000, -1205, nil},
		"negative cents":            {"GBP", 0, -10_000_000, -1, nil},
		"fils":                      {"KWD", 1, 234_000_000, 1234, nil},
		"half a fils":               {"KWD", 0, 500_000, 0, money.ErrPrecision},
		"no cents":                  {"JPY", 500, 0, 500, nil},
		"zero":                      {"USD", 0, 0, 0, nil},
		"largest":                   {"USD", math.MaxInt64 / 100, 70_000_000, math.MaxInt64, nil},
		"smallest":                  {"USD", math.MinInt64 / 100, -80_000_000, math.MinInt64, nil},
		"a cent too large":          {"USD", math.MaxInt64 / 100, 80_000_000, 0, money.ErrOverflow},
		"a cent too small":          {"USD", math.MinInt64 / 100, -90_000_000, 0, money.ErrOverflow},
		"far too large":             {"USD", math.MaxInt64, 0, 0, money.ErrOverflow},
		"far too small":             {"USD", math.MinInt64, 0, 0, money.ErrOverflow},
		"large without cents":       {"JPY", math.MaxInt64, 0, math.MaxInt64, nil},
		"half a cent":               {"USD", 0, 5_000_000, 0, money.ErrPrecision},
		"a nano":                    {"USD", 1, 1, 0, money.ErrPrecision},
		"half a yen":                {"JPY", 1, 500_000_000, 0, money.ErrPrecision},
		"nanos of another sign":     {"USD", 1, -10_000_000, 0, money.ErrMalformed},
		"nanos of the other sign":   {"USD", -1, 10_000_000, 0, money.ErrMalformed},
		"a unit of nanos":           {"USD", 0, 1_000_000_000, 0, money.ErrMalformed},
		"a negative unit of nanos":  {"USD", 0, -1_000_000_000, 0, money.ErrMalformed},
		"no currency":               {"", 1, 0, 0, money.ErrCurrency},
		"currency that is not ours": {"XTS", 1, 0, 0, money.ErrCurrency},
		"lower case":                {"usd", 1, 0, 0, money.ErrCurrency},
	} {
		t.Run(name, func(t *testing.T) {
			amount, err := money.FromProto(&moneypb.Money{CurrencyCode: row.currency, Units: row.units, Nanos: row.nanos})
			if row.err != nil {
				require.ErrorIs(t, err, row.err)
				require.Zero(t, amount)
				return
			}
			require.NoError(t, err)
			require.Equal(t, money.Amount{Currency: row.currency, Minor: row.minor}, amount)
			back := amount.Proto()
			require.Equal(t, row.units, back.GetUnits())
			require.Equal(t, row.nanos, back.GetNanos())
			require.Equal(t, row.currency, back.GetCurrencyCode())
		})
	}
	_, err := money.FromProto(nil)
	require.ErrorIs(t, err, money.ErrCurrency)
}

func TestAnAmountWithoutACurrencyIsNotShown(t *testing.T) {
	require.Nil(t, money.Amount{}.Proto())
	require.Nil(t, money.Amount{Currency: "XTS", Minor: 1}.Proto())
}

func TestArithmeticNeverWrapsAround(t *testing.T) {
	usd := func(minor int64) money.Amount { return money.Amount{Currency: "USD", Minor: minor} }
	for name, row := range map[string]struct {
		result func() (money.Amount, error)
		minor  int64
		err    error
	}{
		"add":                     {func() (money.Amount, error) { return usd(1).Add(usd(2)) }, 3, nil},
		"add nothing":             {func() (money.Amount, error) { return usd(math.MaxInt64).Add(usd(0)) }, math.MaxInt64, nil},
		"add to nothing":          {func() (money.Amount, error) { return usd(0).Add(usd(math.MinInt64)) }, math.MinInt64, nil},
		"add both ends":           {func() (money.Amount, error) { return usd(math.MaxInt64).Add(usd(math.MinInt64)) }, -1, nil},
		"add beyond":              {func() (money.Amount, error) { return usd(math.MaxInt64).Add(usd(1)) }, 0, money.ErrOverflow},
		"add below":               {func() (money.Amount, error) { return usd(math.MinInt64).Add(usd(-1)) }, 0, money.ErrOverflow},
		"add yen":                 {func() (money.Amount, error) { return usd(1).Add(money.Amount{Currency: "JPY", Minor: 1}) }, 0, money.ErrCurrency},
		"multiply":                {func() (money.Amount, error) { return usd(-7).Mul(3) }, -21, nil},
		"multiply by nothing":     {func() (money.Amount, error) { return usd(math.MinInt64).Mul(0) }, 0, nil},
		"multiply to the end":     {func() (money.Amount, error) { return usd(math.MinInt64 / 2).Mul(2) }, math.MinInt64, nil},
		"multiply beyond":         {func() (money.Amount, error) { return usd(math.MaxInt64/2 + 1).Mul(2) }, 0, money.ErrOverflow},
		"multiply far beyond":     {func() (money.Amount, error) { return usd(math.MaxInt64).Mul(math.MaxInt64) }, 0, money.ErrOverflow},
		"the opposite of the end": {func() (money.Amount, error) { return usd(math.MinInt64).Mul(-1) }, 0, money.ErrOverflow},
		"the end times minus one": {func() (money.Amount, error) { return usd(-1).Mul(math.MinInt64) }, 0, money.ErrOverflow},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := row.result()
			if row.err != nil {
				require.ErrorIs(t, err, row.err)
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, usd(row.minor), got)
		})
	}
}

func TestAmountsReadWell(t *testing.T) {
	for text, amount := range map[string]money.Amount{
		"USD 12.34":                 {Currency: "USD", Minor: 1234},
		"EUR -0.05":                 {Currency: "EUR", Minor: -5},
		"KWD 1.005":                 {Currency: "KWD", Minor: 1005},
		"JPY -500":                  {Currency: "JPY", Minor: -500},
		"USD -92233720368547758.08": {Currency: "USD", Minor: math.MinInt64},
	} {
		require.Equal(t, text, amount.String())
	}
}

func TestSupportedCurrencies(t *testing.T) {
	for currency, want := range map[string]int{"EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "USD": 2} {
		require.True(t, money.Supported(currency))
		digits, ok := money.Digits(currency)
		require.True(t, ok)
		require.Equal(t, want, digits, currency)
	}
	require.False(t, money.Supported("usd"))
	require.False(t, money.Supported(""))
}

// FuzzFromProto: whatever is accepted comes back as it was.
func FuzzFromProto(f *testing.F) {
	f.Add("USD", int64(12), int32(340_000_000))
	f.Add("JPY", int64(math.MinInt64), int32(0))
	f.Add("EUR", int64(math.MaxInt64/100), int32(80_000_000))
	f.Add("GBP", int64(-1), int32(10_000_000))
	f.Fuzz(func(t *testing.T, currency string, units int64, nanos int32) {
		amount, err := money.FromProto(&moneypb.Money{CurrencyCode: currency, Units: units, Nanos: nanos})
		if err != nil {
			require.Zero(t, amount)
			return
		}
		back := amount.Proto()
		require.Equal(t, currency, back.GetCurrencyCode())
		require.Equal(t, units, back.GetUnits())
		require.Equal(t, nanos, back.GetNanos())
	})
}
