package payments

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// recordsPage is how many records are asked for at once: what reconciliation
// holds in memory.
const recordsPage = 500

// sandboxRecord is one operation of the sandbox's history.
type sandboxRecord struct {
	sandboxOperation
	Key        string    `json:"key"`
	Kind       Kind      `json:"kind"`
	Reference  string    `json:"reference"`
	Amount     int64     `json:"amount"`
	Currency   string    `json:"currency"`
	CreateTime time.Time `json:"create_time"`
}

// Records implements [Processor], oldest first.
func (s *SandboxProcessor) Records(ctx context.Context, since, until time.Time, cursor string) ([]Record, string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	target := s.base.JoinPath("v1", "history")
	target.RawQuery = url.Values{
		"since":  {since.UTC().Format(time.RFC3339Nano)},
		"until":  {until.UTC().Format(time.RFC3339Nano)},
		"limit":  {strconv.Itoa(s.page)},
		"cursor": {cursor},
	}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, "", fmt.Errorf("ask the sandbox for its history: %w", err)
	}
	var page struct {
		Operations []sandboxRecord `json:"operations"`
		Next       string          `json:"next"`
	}
	status, err := s.do(request, &page, nil)
	if err != nil {
		return nil, "", fmt.Errorf("ask the sandbox for its history: %w", err)
	}
	if status != http.StatusOK {
		return nil, "", fmt.Errorf("ask the sandbox for its history: it answered %d", status)
	}
	records := make([]Record, len(page.Operations))
	for i, o := range page.Operations {
		if records[i], err = o.record(); err != nil {
			return nil, "", err
		}
	}
	return records, page.Next, nil
}

func (r sandboxRecord) record() (Record, error) {
	record := Record{
		Key: r.Key, ProcessorID: r.Charge, Payment: r.Reference, Kind: r.Kind,
		Amount: money.Amount{Currency: r.Currency, Minor: r.Amount}, Time: r.CreateTime,
	}
	outcome, err := r.outcome()
	switch {
	case err == nil:
		record.Verdict, record.DeclineCode = outcome.Verdict, outcome.DeclineCode
	case r.Status != "pending":
		return Record{}, err
	}
	return record, nil
}
