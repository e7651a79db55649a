package payments

import (
	"context"
	"errors"
	"strconv"
	"time"

	moneypb "google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/pkg/page"
	"github.com/holdfast-dev/holdfast/pkg/service"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// reconciliationAPI answers the RPCs of operators. They see every tenant: the
// scope says who may.
type reconciliationAPI struct {
	paymentsv1.UnimplementedReconciliationServiceServer

	reconciler *reconciler
}

func newReconciliationAPI(r *reconciler) service.API {
	a := &reconciliationAPI{reconciler: r}
	return service.API{
		Register: func(s grpc.ServiceRegistrar) { paymentsv1.RegisterReconciliationServiceServer(s, a) },
		Gateway:  paymentsv1.RegisterReconciliationServiceHandler,
	}
}

// errNoRun says that there is no such run.
var errNoRun = errors.New("no such run")

// ReconcilePayments starts a run, or joins the one that is under way.
func (a *reconciliationAPI) ReconcilePayments(ctx context.Context, r *paymentsv1.ReconcilePaymentsRequest) (*paymentsv1.ReconcilePaymentsResponse, error) {
	var since time.Time
	if r.GetSince() != nil {
		if r.GetSince().CheckValid() != nil {
			return nil, toStatus(errWindow)
		}
		since = r.GetSince().AsTime()
	}
	started, joined, err := a.reconciler.begin(ctx, since)
	if err != nil {
		return nil, toStatus(err)
	}
	return &paymentsv1.ReconcilePaymentsResponse{Run: runToProto(started), Joined: joined}, nil
}

// GetReconciliationReport returns a run and a page of its findings.
func (a *reconciliationAPI) GetReconciliationReport(ctx context.Context, r *paymentsv1.GetReconciliationReportRequest) (*paymentsv1.GetReconciliationReportResponse, error) {
	wanted, err := a.reconciler.runs.get(ctx, r.GetRun())
	if err != nil {
		return nil, toStatus(err)
	}
	if wanted == nil {
		return nil, toStatus(errNoRun)
	}
	bound, after := "reconciliation "+strconv.FormatInt(r.GetRun(), 10), int64(0)
	if r.GetPageToken() != "" {
		cursor, err := page.Decode(r.GetPageToken(), bound)
		if err != nil {
			return nil, toStatus(err)
		}
		if after, err = strconv.ParseInt(cursor.ID, 10, 64); err != nil {
			return nil, toStatus(page.ErrInvalid)
		}
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = defaultPageSize
	}
	found, err := a.reconciler.runs.findingsOf(ctx, wanted.Number, after, limit+1)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &paymentsv1.GetReconciliationReportResponse{Run: runToProto(wanted)}
	if len(found) > limit { // one more than asked for tells that there is a next page
		found = found[:limit]
		response.NextPageToken = page.Encode(page.Cursor{ID: strconv.FormatInt(found[limit-1].Number, 10)}, bound)
	}
	for _, f := range found {
		response.Findings = append(response.Findings, findingToProto(f))
	}
	return response, nil
}

// AcknowledgeFinding closes a finding by hand.
func (a *reconciliationAPI) AcknowledgeFinding(ctx context.Context, r *paymentsv1.AcknowledgeFindingRequest) (*paymentsv1.AcknowledgeFindingResponse, error) {
	f, err := a.reconciler.runs.acknowledge(ctx, r.GetNumber(), r.GetNote())
	if err != nil {
		return nil, toStatus(err)
	}
	return &paymentsv1.AcknowledgeFindingResponse{Finding: findingToProto(f)}, nil
}

var findingKindToProto = map[FindingKind]paymentsv1.FindingKind{
	Undecided:            paymentsv1.FindingKind_FINDING_KIND_UNDECIDED,
	MissingHere:          paymentsv1.FindingKind_FINDING_KIND_MISSING_HERE,
	MissingThere:         paymentsv1.FindingKind_FINDING_KIND_MISSING_THERE,
	AmountMismatch:       paymentsv1.FindingKind_FINDING_KIND_AMOUNT_MISMATCH,
	StateMismatch:        paymentsv1.FindingKind_FINDING_KIND_STATE_MISMATCH,
	DuplicateAtProcessor: paymentsv1.FindingKind_FINDING_KIND_DUPLICATE_AT_PROCESSOR,
	OrphanAuthorization:  paymentsv1.FindingKind_FINDING_KIND_ORPHAN_AUTHORIZATION,
}

var findingStateToProto = map[FindingState]paymentsv1.FindingState{
	FindingOpen:     paymentsv1.FindingState_FINDING_STATE_OPEN,
	FindingHealed:   paymentsv1.FindingState_FINDING_STATE_HEALED,
	FindingResolved: paymentsv1.FindingState_FINDING_STATE_RESOLVED,
}

func runToProto(r *run) *paymentsv1.ReconciliationRun {
	return &paymentsv1.ReconciliationRun{
		Number:       r.Number,
		Since:        timestamppb.New(r.Since),
		Until:        timestamppb.New(r.Until),
		Records:      r.Records,
		Entries:      r.Entries,
		Failure:      r.Failure,
		CreateTime:   timestamppb.New(r.CreateTime),
		CompleteTime: timeToProto(r.CompleteTime),
	}
}

func findingToProto(f storedFinding) *paymentsv1.Finding {
	amount := func(minor *int64) *moneypb.Money {
		if minor == nil {
			return nil
		}
		return money.Amount{Currency: f.Currency, Minor: *minor}.Proto()
	}
	return &paymentsv1.Finding{
		Number:       f.Number,
		Kind:         findingKindToProto[f.Kind],
		State:        findingStateToProto[f.State],
		Tenant:       f.Tenant,
		PaymentId:    f.Payment,
		Operation:    string(f.Operation),
		ProcessorKey: f.ProcessorKey,
		ProcessorId:  f.ProcessorID,
		Ours:         f.Ours,
		Theirs:       f.Theirs,
		OurAmount:    amount(f.OurAmount),
		TheirAmount:  amount(f.TheirAmount),
		RecordTime:   timeToProto(f.RecordTime),
		FirstRun:     f.FirstRun,
		LastRun:      f.LastRun,
		FoundTime:    timestamppb.New(f.FoundTime),
		ClosedTime:   timeToProto(f.ClosedTime),
		Note:         f.Note,
	}
}

// timeToProto leaves out a time that is not known.
func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
