package flags

import (
	"context"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
)

// provider answers OpenFeature from a file. All its flags are booleans.
type provider struct{ file *file }

var _ openfeature.FeatureProvider = provider{}

// Metadata names the provider.
func (provider) Metadata() openfeature.Metadata { return openfeature.Metadata{Name: "holdfast-file"} }

// Hooks are none.
func (provider) Hooks() []openfeature.Hook { return nil }

// The variants of every flag.
const (
	variantOn  = "on"
	variantOff = "off"
)

// BooleanEvaluation says whether the tenant in the targeting key has the flag.
func (p provider) BooleanEvaluation(_ context.Context, name string, fallback bool, about openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	refuse := func(why openfeature.ResolutionError) openfeature.BoolResolutionDetail {
		return openfeature.BoolResolutionDetail{Value: fallback, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{
			ResolutionError: why, Reason: openfeature.ErrorReason,
		}}
	}
	flag, ok := p.file.flags()[Flag(name)]
	if !ok {
		return refuse(openfeature.NewFlagNotFoundResolutionError("there is no flag " + name))
	}
	tenant, _ := about[openfeature.TargetingKey].(string)
	if tenant == "" {
		return refuse(openfeature.NewTargetingKeyMissingResolutionError("a flag is asked for a tenant"))
	}
	on := flag.includes(Flag(name), tenant)
	variant := variantOff
	if on {
		variant = variantOn
	}
	return openfeature.BoolResolutionDetail{Value: on, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{
		Variant: variant, Reason: openfeature.SplitReason,
		FlagMetadata: openfeature.FlagMetadata{
			"owner": flag.Owner, "expires": flag.Expires.Format(time.DateOnly), "percentage": flag.Percentage,
		},
	}}
}

// StringEvaluation is never right.
func (provider) StringEvaluation(_ context.Context, name, fallback string, _ openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	return mismatch(name, fallback)
}

// FloatEvaluation is never right.
func (provider) FloatEvaluation(_ context.Context, name string, fallback float64, _ openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	return mismatch(name, fallback)
}

// IntEvaluation is never right.
func (provider) IntEvaluation(_ context.Context, name string, fallback int64, _ openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	return mismatch(name, fallback)
}

// ObjectEvaluation is never right.
func (provider) ObjectEvaluation(_ context.Context, name string, fallback any, _ openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	return mismatch(name, fallback)
}

func mismatch[T any](name string, fallback T) openfeature.GenericResolutionDetail[T] {
	return openfeature.GenericResolutionDetail[T]{Value: fallback, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{
		ResolutionError: openfeature.NewTypeMismatchResolutionError(name + " is a boolean"), Reason: openfeature.ErrorReason,
	}}
}
