package payments

import (
	"errors"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// errNoKey cannot happen behind the idempotency interceptor; it is what a
// server without it would answer.
var errNoKey = apierror.New(apierror.ReasonKeyMissing, "this method needs an idempotency key")

// toStatus turns what the domain and the store say into the API's errors. What
// has a reason already keeps it, and what is none of ours was the database's.
func toStatus(err error) error {
	if referenceTaken(err) {
		return apierror.New(apierror.ReasonAlreadyExists, "there is a payment for this reference already",
			apierror.WithField("reference", "in use by a payment that was not declined, voided or failed"))
	}
	if _, typed := errors.AsType[*apierror.Error](err); typed {
		return err
	}
	for _, row := range []struct {
		is     error
		reason apierror.Reason
		field  string
	}{
		{errNotFound, apierror.ReasonNotFound, ""},
		{errNoRun, apierror.ReasonNotFound, ""},
		{errNoFinding, apierror.ReasonNotFound, ""},
		{errWindow, apierror.ReasonInvalidField, "since"},
		{ErrWrongState, apierror.ReasonWrongState, ""},
		{ErrOperationOpen, apierror.ReasonOperationOpen, ""},
		{ErrExceedsAuthorization, apierror.ReasonWrongState, ""},
		{ErrExceedsCapture, apierror.ReasonWrongState, ""},
		{ErrAmount, apierror.ReasonInvalidField, "amount"},
		{ErrCurrency, apierror.ReasonInvalidField, "amount"},
	} {
		if !errors.Is(err, row.is) {
			continue
		}
		if row.field == "" {
			return apierror.New(row.reason, row.is.Error())
		}
		return apierror.New(row.reason, "the request is not valid", apierror.WithField(row.field, row.is.Error()))
	}
	return postgres.MapError(err)
}

// amountError says what is wrong with an amount that was sent.
func amountError(err error) error {
	return apierror.New(apierror.ReasonInvalidField, "the request is not valid",
		apierror.WithField("amount", err.Error()))
}
