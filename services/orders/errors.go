package orders

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// errNoKey cannot happen behind the idempotency interceptor; it is what a
// server without it would answer.
var errNoKey = apierror.New(apierror.ReasonKeyMissing, "this method needs an idempotency key")

// toStatus turns what the domain and the store say into the API's errors. What
// has a reason already keeps it, and what is none of ours was the database's.
func toStatus(err error) error {
	var (
		typed *apierror.Error
		state *StateError
	)
	switch {
	case errors.As(err, &typed):
		return err
	case errors.Is(err, ErrNotFound):
		return apierror.New(apierror.ReasonNotFound, "there is no such order")
	case errors.Is(err, ErrStaleEtag):
		return apierror.New(apierror.ReasonEtagMismatch, "the order has changed since that etag; read it again")
	case errors.As(err, &state):
		return apierror.New(apierror.ReasonWrongState, state.Error(),
			apierror.WithMetadata("state", string(state.From)))
	case errors.Is(err, ErrUnknownProduct), errors.Is(err, ErrMixedCurrencies):
		return apierror.New(apierror.ReasonInvalidField, "the order cannot be placed as it is", lineFields(err)...)
	case errors.Is(err, money.ErrOverflow):
		return apierror.New(apierror.ReasonInvalidField, "the order is too large",
			apierror.WithField("lines", "the sum of all lines is more than can be paid at once"))
	default:
		return postgres.MapError(err)
	}
}

// lineFields names each line that is wrong, as the request spelled it.
func lineFields(err error) []apierror.Option {
	var fields []apierror.Option
	for _, problem := range unjoin(err) {
		var line *LineError
		if errors.As(problem, &line) {
			fields = append(fields, apierror.WithField(
				fmt.Sprintf("lines[%d].product_id", line.Index), line.Err.Error()))
		}
	}
	return fields
}

// unjoin is the inverse of errors.Join.
func unjoin(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

// normalEmail is the one spelling of an address: domains are the same in any
// case, the part before the @ is the mailbox owner's business.
func normalEmail(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return address[:at] + strings.ToLower(address[at:])
}
