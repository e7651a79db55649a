package llmgateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// noModel is the answer to a request for a model that no route of the tenant names.
func noModel(name string) error {
	return apierror.New(apierror.ReasonNotFound, fmt.Sprintf("there is no model %q: GET /v1/llm/models lists those there are", name),
		apierror.WithMetadata("model", name))
}

// errInterrupted is what a repeat is told of an answer that was cut.
var errInterrupted = apierror.New(apierror.ReasonGenerationInterrupted,
	"the answer of this idempotency key was cut before its end; what had come is paid for")

// typed makes an error of the API of whatever went wrong with a request. Which key of
// ours a provider did not take is for the log, and nobody else.
func typed(err error) error {
	if e, ok := apierror.Typed(err); ok {
		return e
	}
	over, isOver := errors.AsType[*ledger.OverBudget](err)
	busy, isBusy := errors.AsType[*ledger.InFlight](err)
	malformed, isMalformed := errors.AsType[*wire.RequestError](err)
	failure, isFailure := errors.AsType[*dispatch.Failure](err)
	switch {
	case isOver:
		return overBudget(over)
	case isBusy:
		return apierror.New(apierror.ReasonKeyInFlight, "a request with this idempotency key is being answered",
			apierror.WithRetryAfter(busy.RetryAfter))
	case errors.Is(err, ledger.ErrKeyReused):
		return apierror.New(apierror.ReasonKeyReused, "the idempotency key was used with another request")
	case errors.Is(err, ledger.ErrInterrupted):
		return errInterrupted
	case errors.Is(err, ledger.ErrFenced):
		return apierror.New(apierror.ReasonOutcomeUnknown, "the request took so long that it counted as abandoned", apierror.WithCause(err))
	case isMalformed && malformed.Field == "":
		return apierror.New(apierror.ReasonMalformedRequest, malformed.Error())
	case isMalformed:
		return apierror.New(apierror.ReasonInvalidField, "the request has a field that breaks a rule",
			apierror.WithField(malformed.Field, malformed.Message))
	case isFailure:
		return failed(failure)
	case errors.Is(err, context.Canceled):
		return apierror.New(apierror.ReasonCancelled, "the client went away", apierror.WithCause(err))
	case errors.Is(err, context.DeadlineExceeded):
		return apierror.New(apierror.ReasonDeadline, "the answer took too long", apierror.WithCause(err))
	default:
		return err // a bug, which the interceptor logs and hides
	}
}

func overBudget(over *ledger.OverBudget) error {
	options := []apierror.Option{
		apierror.WithMetadata("budget", over.Budget),
		apierror.WithMetadata("left_nanodollars", strconv.FormatInt(over.Left, 10)),
	}
	message := "budget " + over.Budget + " has no room for what the request may cost"
	if !over.ResetsAt.IsZero() {
		options = append(options, apierror.WithMetadata("resets_at", over.ResetsAt.UTC().Format(time.RFC3339)), apierror.WithRetryAfter(time.Until(over.ResetsAt)))
		message += ", until " + over.ResetsAt.UTC().Format(time.RFC3339)
	}
	return apierror.New(apierror.ReasonBudgetSpent, message, options...)
}

// failed types a request that no provider answered.
func failed(f *dispatch.Failure) error {
	options := []apierror.Option{
		apierror.WithCause(f),
		apierror.WithMetadata("path", dispatch.FormatPath(f.Path)),
		apierror.WithMetadata("attempts", strconv.Itoa(f.Attempts)),
	}
	if f.RetryAfter > 0 {
		options = append(options, apierror.WithRetryAfter(f.RetryAfter))
	}
	if f.Committed {
		return apierror.New(apierror.ReasonGenerationInterrupted, "the provider broke off in the middle of its answer; what had come is paid for", options...)
	}
	switch f.Reason {
	case dispatch.Invalid:
		return apierror.New(apierror.ReasonProviderRejected, providerSays(f), options...)
	case dispatch.Untranslatable:
		return apierror.New(apierror.ReasonUnsupported, "no provider behind this model speaks the protocol of the request", options...)
	case dispatch.RateLimited, dispatch.Queued, dispatch.KeysResting:
		return apierror.New(apierror.ReasonRateLimited, "the providers of this model take no more requests for now", options...)
	case dispatch.BreakerOpen, dispatch.ProviderDown:
		return apierror.New(apierror.ReasonBreakerOpen, "the providers of this model are failing and are not being asked", options...)
	case dispatch.ConnectTimeout, dispatch.FirstTokenTimeout, dispatch.AnswerTimeout, dispatch.IdleTimeout, dispatch.TotalTimeout, dispatch.UpstreamTimeout:
		return apierror.New(apierror.ReasonDeadline, "the providers of this model did not answer in time", options...)
	case dispatch.CallerLeft:
		return apierror.New(apierror.ReasonCancelled, "the client went away", options...)
	case dispatch.Refused:
		if f.Cause != nil {
			return typed(f.Cause)
		}
	}
	return apierror.New(apierror.ReasonDependencyUnavailable, "no provider of this model could answer", options...)
}

// providerSays is the provider's own word on a request that is wrong.
func providerSays(f *dispatch.Failure) string {
	if f.Last == nil || f.Last.Message == "" {
		return "the provider refuses the request"
	}
	return f.Last.Message
}

// codesOfOpenAI are those that clients of OpenAI switch on, for what it says too.
var codesOfOpenAI = map[apierror.Reason]string{
	apierror.ReasonCredentialsMissing: "invalid_api_key",
	apierror.ReasonCredentialsInvalid: "invalid_api_key",
	apierror.ReasonNotFound:           "model_not_found",
}

// problemOf says an error in the words of a wire protocol. What the provider itself
// said of a request stays as it was: clients switch on its code.
func problemOf(protocol wire.Protocol, err error) wire.Problem {
	e := apierror.From(err)
	p := wire.Problem{Status: e.HTTPStatus(), Code: strings.ToLower(string(e.Reason())), Message: e.Message()}
	if code := codesOfOpenAI[e.Reason()]; protocol == wire.OpenAI && code != "" {
		p.Code = code
	}
	for _, v := range e.Violations() {
		p.Message += "; " + v.Field + ": " + v.Description
	}
	if failure, ok := errors.AsType[*dispatch.Failure](err); ok && failure.Reason == dispatch.Invalid && failure.Last != nil {
		p.Status, p.Type = failure.Status, failure.Last.Type
		if failure.Last.Code != "" {
			p.Code = failure.Last.Code
		}
	}
	return p
}

// permanent reports whether the same request would fail again. One without a
// credential would, if an SDK sent it again by itself.
func permanent(err error) bool {
	e := apierror.From(err)
	switch e.Reason() {
	case apierror.ReasonCredentialsMissing, apierror.ReasonCredentialsInvalid:
		return true
	}
	return e.Retry() == apierror.RetryNever || e.Retry() == apierror.RetryNewKey
}
