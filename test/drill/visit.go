package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/metadata"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// Target is a platform that somebody else has started, such as one in a
// cluster.
type Target struct {
	// GRPC and HTTP are where orders answers, as host:port.
	GRPC, HTTP string
	// Credential is an API key with the scopes of orders.
	Credential string
	// OrdersURL and PaymentsURL are the databases, SandboxURL the processor, for
	// the audit. Without them there is none.
	OrdersURL, PaymentsURL, SandboxURL string
}

// Validate reports what is missing.
func (t Target) Validate() error {
	var problems []error
	if t.GRPC == "" || t.HTTP == "" {
		problems = append(problems, errors.New("the target needs the gRPC and the HTTP address of orders"))
	}
	if all := t.OrdersURL != "" && t.PaymentsURL != "" && t.SandboxURL != ""; !all && t.OrdersURL+t.PaymentsURL+t.SandboxURL != "" {
		problems = append(problems, errors.New("an audit needs both databases and the sandbox"))
	}
	return errors.Join(problems...)
}

// Visit is the load of the drills on a platform that runs elsewhere. What is
// done to it meanwhile is somebody else's business, who names the phases.
type Visit struct {
	target   Target
	options  Options
	shopper  *shopper
	follower *follower
	clients  flows
	began    time.Time
	stop     chan struct{}
	once     sync.Once
}

// connectionsOfVisit is how many reused connections each kind of client has:
// enough for every replica to have some.
const connectionsOfVisit = 6

// StartVisit puts load on the target. Retries is how often a client tries again;
// zero to see every failure.
func StartVisit(ctx context.Context, t Target, o Options, retries int) (*Visit, error) {
	if err := errors.Join(t.Validate(), o.Validate()); err != nil {
		return nil, err
	}
	senders, err := t.senders()
	if err != nil {
		return nil, err
	}
	v := &Visit{target: t, options: o, shopper: newShopper(o.Seed, senders...), began: time.Now(), stop: make(chan struct{})}
	if v.follower, err = newFollower(v.shopper, t.GRPC, t.HTTP, "Bearer "+t.Credential, connectionsOfVisit); err != nil {
		return nil, err
	}
	v.clients = shopping(ctx, o, retries, v.shopper, v.follower)
	return v, nil
}

// senders are gRPC and HTTP, on reused and on new connections.
func (t Target) senders() ([]sender, error) {
	credential := "Bearer " + t.Credential
	var senders []sender
	for _, kind := range []load.Connections{load.Reused, load.New} {
		overGRPC, err := load.NewGRPC(t.GRPC, ordersv1.OrdersService_CreateOrder_FullMethodName,
			metadata.Pairs("authorization", credential), kind, connectionsOfVisit)
		if err != nil {
			return nil, err
		}
		overHTTP := load.NewHTTP("http://"+t.HTTP+"/v1/orders", http.Header{"Authorization": {credential}}, kind, connectionsOfVisit)
		senders = append(senders, sender{overGRPC, "proto"}, sender{overHTTP, "json"})
	}
	return senders, nil
}

// Stop ends the load. It may be called more than once.
func (v *Visit) Stop() { v.once.Do(func() { close(v.stop) }) }

// Wait waits until the load is stopped or ctx ends, then for everything to be
// decided, audits if the target can be, and judges.
func (v *Visit) Wait(ctx context.Context) (*Verdict, error) {
	select {
	case <-v.stop:
	case <-ctx.Done():
	}
	v.clients.wait()
	v.shopper.close()
	v.follower.close()
	var audit invariants.Result
	if v.target.OrdersURL != "" {
		var err error
		// Also when ctx has ended: the audit is what the visit was for.
		if audit, err = v.audit(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	return v.judge(audit), nil
}

// judge judges what was seen so far.
func (v *Visit) judge(audit invariants.Result) *Verdict {
	verdict := judge("load", v.options, v.clients.seen(), nil, audit, time.Since(v.began))
	verdict.HandedOver = v.follower.handovers.Load()
	return verdict
}

func (v *Visit) audit(ctx context.Context) (invariants.Result, error) {
	orders, err := pgxpool.New(ctx, v.target.OrdersURL)
	if err != nil {
		return invariants.Result{}, fmt.Errorf("audit: %w", err)
	}
	defer orders.Close()
	payments, err := pgxpool.New(ctx, v.target.PaymentsURL)
	if err != nil {
		return invariants.Result{}, fmt.Errorf("audit: %w", err)
	}
	defer payments.Close()
	return auditAfter(ctx, invariants.Sources{
		Orders: orders, Payments: payments, SandboxURL: v.target.SandboxURL, Bound: quiescenceBound,
	}, v.shopper.history)
}

// Control lets whoever acts on the platform steer the visit:
//
//	POST /phase?name=NAME  names what comes; answers with the report so far
//	GET  /report           answers with the report so far
//	POST /stop             ends the load; answers with the verdict
//
// Verdict is what Wait returned; the answer to /stop waits for it.
func (v *Visit) Control(verdict func() (*Verdict, error)) http.Handler {
	return steered{
		phase: v.clients.phase,
		soFar: func() *Verdict { return v.judge(invariants.Result{}) },
		stop:  v.Stop,
	}.control(verdict)
}
