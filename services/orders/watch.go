package orders

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/page"
	"github.com/holdfast-dev/holdfast/pkg/service"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// WatchConfig is how orders are watched.
type WatchConfig struct {
	Interval     time.Duration `env:"HOLDFAST_WATCH_INTERVAL" envDefault:"250ms" doc:"how often the orders that are watched are asked for, all at once, to learn what other replicas have changed"`
	Max          int           `env:"HOLDFAST_WATCH_MAX" envDefault:"500" doc:"watches that one replica holds at most"`
	MaxPerTenant int           `env:"HOLDFAST_WATCH_MAX_PER_TENANT" envDefault:"200" doc:"how many of them one tenant may have"`
}

// Validate reports every setting that could not work.
func (c WatchConfig) Validate() error {
	var problems []error
	if c.Interval < 10*time.Millisecond || c.Interval > time.Minute {
		problems = append(problems, fmt.Errorf("HOLDFAST_WATCH_INTERVAL is %v, must be 10ms to 1m", c.Interval))
	}
	if c.Max <= 0 || c.MaxPerTenant <= 0 {
		problems = append(problems, fmt.Errorf("HOLDFAST_WATCH_MAX is %d and HOLDFAST_WATCH_MAX_PER_TENANT %d, both must be positive", c.Max, c.MaxPerTenant))
	}
	return errors.Join(problems...)
}

// WatchOrder sends every revision of an order, once and in order. The stream reads
// from the table, from where it is: it may be slow, and leaves nothing in memory
// that waits for it. Where it is, is the resume token, which is as good on any
// other replica.
func (a *api) WatchOrder(r *ordersv1.WatchOrderRequest, stream grpc.ServerStreamingServer[ordersv1.WatchOrderResponse]) error {
	ctx := stream.Context()
	w := watch{api: a, stream: stream, tenant: auth.Tenant(ctx)}
	var err error
	if w.id, err = uuid.Parse(r.GetId()); err != nil {
		return toStatus(ErrNotFound)
	}
	if w.seat, err = a.watches.join(w.tenant, w.id); err != nil {
		return err
	}
	defer w.seat.leave()
	if err := w.begin(ctx, r.GetResumeToken()); err != nil {
		return toStatus(err)
	}
	return toStatus(w.follow(ctx))
}

// watch is one stream.
type watch struct {
	api      *api
	stream   grpc.ServerStreamingServer[ordersv1.WatchOrderResponse]
	seat     *seat
	tenant   string
	id       uuid.UUID
	position int64 // the version that the client has
}

// begin finds out where to begin, and sends the first revision if it is the
// present one. Until then nothing was accepted.
func (w *watch) begin(ctx context.Context, token string) error {
	var o *Order
	err := w.seat.read(ctx, func(ctx context.Context) (err error) {
		o, err = w.api.store.get(ctx, w.tenant, w.id)
		return err
	})
	if err != nil {
		return err
	}
	if token != "" {
		if w.position, err = w.versionOf(token); err != nil {
			return err
		}
		if w.position > o.Version() {
			return errResumeToken("is ahead of the order")
		}
	}
	// Over HTTP this is what tells that the stream is accepted.
	if err := w.stream.SendHeader(nil); err != nil {
		return err
	}
	if token != "" {
		return nil
	}
	return w.send(ctx, o)
}

// revisionsAtOnce is how many revisions a stream holds in memory.
const revisionsAtOnce = 32

// follow sends what there is, then what comes.
func (w *watch) follow(ctx context.Context) error {
	for {
		news := w.seat.news()
		sent, err := w.catchUp(ctx)
		switch {
		case err != nil:
			return err
		case sent == revisionsAtOnce:
			continue // there may be more
		}
		select {
		case <-news:
		case <-service.Draining(ctx):
			return w.end()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// catchUp sends the next revisions that there are, and returns how many.
func (w *watch) catchUp(ctx context.Context) (sent int, err error) {
	var next []*Order
	err = w.seat.read(ctx, func(ctx context.Context) (err error) {
		next, err = w.api.store.revisions(ctx, w.tenant, w.id, w.position, revisionsAtOnce)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, o := range next {
		select {
		case <-service.Draining(ctx):
			return sent, w.end()
		default:
		}
		if err := w.send(ctx, o); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

func (w *watch) send(ctx context.Context, o *Order) error {
	err := w.stream.Send(&ordersv1.WatchOrderResponse{
		Order: w.api.show.order(ctx, o), Revision: o.Version(), ResumeToken: w.token(o.Version()),
	})
	if err != nil {
		return err
	}
	w.position = o.Version()
	w.seat.watches.reached(w.id, w.position)
	return nil
}

// atOnce is when to come back to another replica: the shortest time that an error
// can name.
const atOnce = time.Millisecond

// end is what a stream ends with when its server drains.
func (w *watch) end() error {
	return apierror.New(apierror.ReasonDraining, "this replica is leaving: go on elsewhere, from resume_token",
		apierror.WithRetryAfter(atOnce), apierror.WithMetadata("resume_token", w.token(w.position)))
}

// token is a position, not a capability: every read carries the tenant itself.
func (w *watch) token(version int64) string {
	return page.Encode(page.Cursor{ID: strconv.FormatInt(version, 10)}, w.filter())
}

func (w *watch) versionOf(token string) (int64, error) {
	cursor, err := page.Decode(token, w.filter())
	if err != nil {
		return 0, errResumeToken("is not one of this order")
	}
	version, err := strconv.ParseInt(cursor.ID, 10, 64)
	if err != nil || version < 1 {
		return 0, errResumeToken("is not one of this order")
	}
	return version, nil
}

func (w *watch) filter() string { return "watch/" + w.tenant + "/" + w.id.String() }

func errResumeToken(why string) error {
	return apierror.New(apierror.ReasonInvalidResumeToken, "the resume token is not valid: watch again without one",
		apierror.WithField("resume_token", why))
}
