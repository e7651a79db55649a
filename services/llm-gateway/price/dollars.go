package price

import (
	"errors"
	"math"
	"strings"
)

var errDollars = errors.New("must be dollars in digits, with at most nine decimals, such as 1.25")

// nanoDigits is how many decimals a nano-dollar has.
const nanoDigits = 9

// ParseDollars reads an amount such as "1.25" exactly and returns nano-dollars.
// It takes digits and one point: no sign, no exponent, no more decimals than
// there are nano-dollars.
func ParseDollars(text string) (int64, error) {
	whole, decimals, point := strings.Cut(text, ".")
	if whole == "" || (point && decimals == "") || len(decimals) > nanoDigits {
		return 0, errDollars
	}
	var nanos int64
	for _, digit := range []byte(whole + decimals + strings.Repeat("0", nanoDigits-len(decimals))) {
		if digit < '0' || digit > '9' {
			return 0, errDollars
		}
		if nanos > (math.MaxInt64-9)/10 {
			return 0, errDollars
		}
		nanos = nanos*10 + int64(digit-'0')
	}
	return nanos, nil
}
