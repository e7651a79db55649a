package payments

import "github.com/holdfast-dev/holdfast/pkg/money"

// toStripe is an amount as Stripe counts it: in the currency's minor unit, the
// same as ours. Amounts with three decimals must end in a zero there
// (docs.stripe.com/currencies); false for those that do not.
func toStripe(a money.Amount) (int64, bool) {
	if digits, _ := money.Digits(a.Currency); digits == 3 && a.Minor%10 != 0 {
		return 0, false
	}
	return a.Minor, true
}
