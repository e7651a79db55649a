//go:build faults

package faults

import (
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// reasonOf gives the reason with which an API of ours answers a gRPC code. A
// code that is not here is one that no answer has: UNKNOWN, OUT_OF_RANGE and
// DATA_LOSS.
var reasonOf = map[string]apierror.Reason{
	"CANCELLED":           apierror.ReasonCancelled,
	"INVALID_ARGUMENT":    apierror.ReasonInvalidField,
	"DEADLINE_EXCEEDED":   apierror.ReasonDeadline,
	"NOT_FOUND":           apierror.ReasonNotFound,
	"ALREADY_EXISTS":      apierror.ReasonAlreadyExists,
	"PERMISSION_DENIED":   apierror.ReasonPermissionDenied,
	"RESOURCE_EXHAUSTED":  apierror.ReasonRateLimited,
	"FAILED_PRECONDITION": apierror.ReasonWrongState,
	"ABORTED":             apierror.ReasonOperationOpen,
	"UNIMPLEMENTED":       apierror.ReasonUnknownMethod,
	"INTERNAL":            apierror.ReasonInternal,
	"UNAVAILABLE":         apierror.ReasonDependencyUnavailable,
	"UNAUTHENTICATED":     apierror.ReasonCredentialsInvalid,
}

// defaultCode is the code of a rule that names none: what a service that cannot
// be reached is answered with.
const defaultCode = "UNAVAILABLE"

func codeNames() []string { return slices.Sorted(maps.Keys(reasonOf)) }
