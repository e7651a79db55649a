package llmgateway

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// usageDays is what a report covers that names no beginning.
const usageDays = 30

// GetUsage reports what the tenant used, by day, route and model, and its budgets.
func (a *api) GetUsage(ctx context.Context, r *llmv1.GetUsageRequest) (*llmv1.GetUsageResponse, error) {
	if !a.cfg.Ledger {
		return nil, apierror.New(apierror.ReasonUnsupported, "this gateway keeps no ledger, and so knows no usage")
	}
	until := a.now()
	if r.GetUntil() != nil {
		until = r.GetUntil().AsTime()
	}
	since := until.AddDate(0, 0, -usageDays).Truncate(24 * time.Hour)
	if r.GetSince() != nil {
		since = r.GetSince().AsTime()
	}
	if !since.Before(until) {
		return nil, apierror.New(apierror.ReasonInvalidField, "the report would cover no time", apierror.WithField("since", "must be before until"))
	}
	tenant := auth.Tenant(ctx)
	rows, err := a.ledger.Usage(ctx, ledger.Query{
		Tenant: tenant, From: since, To: until, GroupBy: []ledger.Dimension{ledger.ByDay, ledger.ByRoute, ledger.ByModel},
	})
	if err != nil {
		return nil, err
	}
	balances, err := a.ledger.Balance(ctx, tenant)
	if err != nil {
		return nil, err
	}
	response := &llmv1.GetUsageResponse{}
	for _, row := range rows {
		response.Rows = append(response.Rows, rowOf(row))
	}
	for _, b := range balances {
		response.Budgets = append(response.Budgets, budgetOf(b))
	}
	return response, nil
}

func rowOf(row ledger.Row) *llmv1.UsageRow {
	sum := func(count func(ledger.Sum) int64) int64 { return count(row.Exact) + count(row.Estimated) }
	return &llmv1.UsageRow{
		Day: row.Day.Format(time.DateOnly), Route: row.Route, Model: row.Model, Requests: row.Requests, Unknown: row.Unknown,
		Usage: &llmv1.Usage{
			InputTokens:      sum(func(s ledger.Sum) int64 { return s.Input }),
			CacheReadTokens:  sum(func(s ledger.Sum) int64 { return s.CacheRead }),
			CacheWriteTokens: sum(func(s ledger.Sum) int64 { return s.CacheWrite + s.CacheWrite1h }),
			OutputTokens:     sum(func(s ledger.Sum) int64 { return s.Output }),
			ReasoningTokens:  sum(func(s ledger.Sum) int64 { return s.Reasoning }),
			CostNanodollars:  sum(func(s ledger.Sum) int64 { return s.Cost }),
			Estimated:        row.Estimated.Cost != 0,
		},
	}
}

func budgetOf(b ledger.Balance) *llmv1.Budget {
	budget := &llmv1.Budget{
		Name: b.Name, Start: timestamppb.New(b.Start),
		LimitNanodollars: b.Limit, SettledNanodollars: b.Settled, ReservedNanodollars: b.Reserved,
	}
	if !b.End.IsZero() {
		budget.Reset_ = timestamppb.New(b.End)
	}
	return budget
}
