package orders

import (
	"errors"
	"fmt"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// Product is something that can be ordered. Its price is ours, never the
// client's.
type Product struct {
	ID    string
	Name  string
	Price money.Amount
}

var (
	// ErrUnknownProduct says that the catalogue has no such product.
	ErrUnknownProduct = errors.New("is not in the catalogue")
	// ErrMixedCurrencies says that two lines are priced in different currencies:
	// one order is one payment in one currency.
	ErrMixedCurrencies = errors.New("is priced in another currency than the first line; order it separately")
)

// LineError says what is wrong with one line of an order.
type LineError struct {
	Index     int // from 0, as the client sent them
	ProductID string
	Err       error
}

// Error names the product and what is wrong with it.
func (e *LineError) Error() string { return fmt.Sprintf("%s: %v", e.ProductID, e.Err) }

// Unwrap returns what is wrong, such as ErrUnknownProduct.
func (e *LineError) Unwrap() error { return e.Err }

// Wanted is a product and how many of it somebody wants.
type Wanted struct {
	ProductID string
	Quantity  int32
}

// Price puts today's prices on what is wanted. The error joins one LineError
// for each line that cannot be ordered, so that a client learns of all at once.
func Price(wanted []Wanted, catalogue map[string]Product) ([]Line, error) {
	var (
		lines    []Line
		problems []error
		currency string
	)
	for i, w := range wanted {
		product, known := catalogue[w.ProductID]
		if !known {
			problems = append(problems, &LineError{i, w.ProductID, ErrUnknownProduct})
			continue
		}
		if currency == "" {
			currency = product.Price.Currency
		}
		if product.Price.Currency != currency {
			problems = append(problems, &LineError{i, w.ProductID, ErrMixedCurrencies})
			continue
		}
		lines = append(lines, Line{ProductID: w.ProductID, Quantity: w.Quantity, UnitPrice: product.Price})
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return lines, nil
}
