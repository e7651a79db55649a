package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	moneypb "google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// operator asks payments over HTTP, as somebody who runs the platform.
type operator struct{ address, key string }

func (o *operator) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&o.address, "http", "localhost:8080", "where payments answers HTTP")
	flags.StringVar(&o.key, "key", fromEnvironment("HOLDFAST_OPERATOR_KEY", auth.DevelopmentOperatorKey),
		"API key with the scope payments.reconcile (or HOLDFAST_OPERATOR_KEY)")
	flags.Lookup("key").DefValue = "" // it may be a secret
}

func reconcileCommand() *cobra.Command {
	var who operator
	var back, patience time.Duration
	var asJSON bool
	command := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare the books of payments with the card processor's, and print where they differ",
		Long: `Starts a comparison on a running platform, or joins the one that is under way,
waits for it, and prints its report: what differs, what was healed, and what a
comparison has found gone. Exit code 1 means that something needs a person:
docs/reconciliation.md says what each kind of finding means and what to do.

One runs every hour by itself. Nothing that it does moves money.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			request := &paymentsv1.ReconcilePaymentsRequest{}
			if back > 0 {
				request.Since = timestamppb.New(time.Now().Add(-back))
			}
			found, err := who.reconcile(ctx, request, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), found, asJSON)
		},
	}
	who.flags(command)
	flags := command.Flags()
	flags.DurationVar(&back, "since", 0, "compare what was done in this time, such as 48h (default: since the last comparison)")
	flags.DurationVar(&patience, "timeout", 10*time.Minute, "how long to wait for it")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	command.AddCommand(acknowledgeCommand())
	return command
}

func acknowledgeCommand() *cobra.Command {
	var who operator
	var note string
	command := &cobra.Command{
		Use:   "acknowledge NUMBER",
		Short: "Close a finding that was settled where no comparison can see it",
		Args:  exactlyOne("number"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is no number of a finding", args[0])
			}
			if note == "" {
				return errors.New("say with --note how it was settled: somebody will want to know")
			}
			var closed paymentsv1.AcknowledgeFindingResponse
			request := &paymentsv1.AcknowledgeFindingRequest{Number: number, Note: note}
			if err := who.ask(cmd.Context(), http.MethodPost, "/v1/payments:acknowledgeFinding", request, &closed); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "finding %d is closed: %s\n", number, closed.GetFinding().GetNote())
			return err
		},
	}
	who.flags(command)
	command.Flags().StringVar(&note, "note", "", "how it was settled")
	return command
}

// reconcile starts or joins a run, waits until it is complete, and fetches the
// whole report.
func (o *operator) reconcile(ctx context.Context, request *paymentsv1.ReconcilePaymentsRequest, progress io.Writer) (*paymentsv1.GetReconciliationReportResponse, error) {
	var started paymentsv1.ReconcilePaymentsResponse
	if err := o.ask(ctx, http.MethodPost, "/v1/payments:reconcile", request, &started); err != nil {
		return nil, err
	}
	if started.GetJoined() {
		fmt.Fprintf(progress, "run %d was under way already; waiting for it\n", started.GetRun().GetNumber())
	}
	said := ""
	for {
		report, err := o.report(ctx, started.GetRun().GetNumber())
		if err != nil {
			return nil, err
		}
		run := report.GetRun()
		if run.GetCompleteTime() != nil {
			return report, nil
		}
		if failure := run.GetFailure(); failure != "" && failure != said {
			said = failure
			fmt.Fprintf(progress, "run %d is tried again: %s\n", run.GetNumber(), failure)
		}
		if !waited(ctx, 200*time.Millisecond) {
			return nil, fmt.Errorf("run %d is not complete yet; it goes on without you, and another holdfast reconcile joins it", run.GetNumber())
		}
	}
}

// report fetches a run with all pages of its findings.
func (o *operator) report(ctx context.Context, run int64) (*paymentsv1.GetReconciliationReportResponse, error) {
	whole := &paymentsv1.GetReconciliationReportResponse{}
	for token := ""; ; {
		query := url.Values{"run": {strconv.FormatInt(run, 10)}, "page_size": {"200"}}
		if token != "" {
			query.Set("page_token", token)
		}
		var page paymentsv1.GetReconciliationReportResponse
		if err := o.ask(ctx, http.MethodGet, "/v1/payments:reconciliation?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		whole.Run = page.GetRun()
		whole.Findings = append(whole.Findings, page.GetFindings()...)
		if token = page.GetNextPageToken(); token == "" {
			return whole, nil
		}
	}
}

func (o *operator) ask(ctx context.Context, method, path string, request, into proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var body io.Reader = http.NoBody
	if request != nil {
		data, err := protojson.Marshal(request)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+o.address+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+o.key)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("ask payments: %w; is it running, and at --http?", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("ask payments: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return refused(response.Status, answer)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(answer, into)
}

// refused is an error answer as a line for people.
func refused(status string, answer []byte) error {
	var problem apierror.Problem
	if err := json.Unmarshal(answer, &problem); err != nil || problem.Reason == "" {
		return fmt.Errorf("ask payments: it answered %s; is it payments that is at --http?", status)
	}
	said := problem.Detail
	for _, field := range problem.Errors {
		said += fmt.Sprintf("; %s: %s", field.Field, field.Detail)
	}
	return fmt.Errorf("payments: %s (%s)", said, problem.Reason)
}

// printReport prints a report, and turns what needs a person into the exit code.
func printReport(w io.Writer, report *paymentsv1.GetReconciliationReportResponse, asJSON bool) error {
	counts := map[paymentsv1.FindingState]int{}
	for _, f := range report.GetFindings() {
		counts[f.GetState()]++
	}
	open := counts[paymentsv1.FindingState_FINDING_STATE_OPEN]
	var err error
	if asJSON {
		err = printJSON(w, report)
	} else {
		run := report.GetRun()
		fmt.Fprintf(w, "run %d compared %s to %s: %d operations of the processor, %d of ours\n", run.GetNumber(),
			minute(run.GetSince()), minute(run.GetUntil()), run.GetRecords(), run.GetEntries())
		fmt.Fprintf(w, "%d need a person, %d healed, %d resolved\n", open,
			counts[paymentsv1.FindingState_FINDING_STATE_HEALED], counts[paymentsv1.FindingState_FINDING_STATE_RESOLVED])
		err = printFindings(w, report.GetFindings())
	}
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if open > 0 {
		return errRed
	}
	return nil
}

func printFindings(w io.Writer, findings []*paymentsv1.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nNUMBER\tKIND\tSTATE\tPAYMENT\tOPERATION\tOURS\tTHEIRS\tPROCESSOR ID")
	for _, f := range findings {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.GetNumber(),
			word(f.GetKind().String(), "FINDING_KIND_"), word(f.GetState().String(), "FINDING_STATE_"),
			f.GetPaymentId(), f.GetOperation(), side(f.GetOurs(), f.GetOurAmount()), side(f.GetTheirs(), f.GetTheirAmount()), f.GetProcessorId())
	}
	return table.Flush()
}

// word is an enum's value as the docs write it.
func word(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }

// side is what one side says, with its amount.
func side(says string, amount *moneypb.Money) string {
	switch {
	case says == "":
		return "-"
	case amount == nil:
		return says
	}
	return fmt.Sprintf("%s %d.%02d %s", says, amount.GetUnits(), amount.GetNanos()/10_000_000, amount.GetCurrencyCode())
}

func minute(t *timestamppb.Timestamp) string { return t.AsTime().Format("2006-01-02 15:04:05Z") }

func printJSON(w io.Writer, message proto.Message) error {
	data, err := protojson.Marshal(message)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, data, "", "  "); err != nil {
		return err
	}
	indented.WriteByte('\n')
	_, err = indented.WriteTo(w)
	return err
}
