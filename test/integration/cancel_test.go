package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/services/sandbox"
)

// TestCancelledAtAnyMomentTheMoneyIsGivenBackOnce cancels orders at random moments
// while they are being paid, with every card that the processor knows: before the
// charge, during it, while its outcome is unknown, and after.
func TestCancelledAtAnyMomentTheMoneyIsGivenBackOnce(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, seed))
	p := start(t)
	const rounds = 2
	var clients sync.WaitGroup
	for round := range rounds {
		for card := range sandbox.PaymentMethods {
			request := fine()
			request.PaymentMethod = card
			request.ShippingNote = fmt.Sprintf("%s %d", card, round)
			pause := time.Duration(draw.IntN(int(200 * time.Millisecond)))
			if draw.IntN(4) == 0 {
				pause += 2 * time.Second // well after the answer
			}
			clients.Go(func() {
				_, err := p.orders.CreateOrder(p.as(t.Context(), p.tenant), request)
				if err != nil {
					t.Errorf("create with %s: %v", card, err)
				}
			})
			clients.Go(func() {
				id, err := p.placed(t.Context(), request.GetShippingNote())
				if err != nil {
					t.Errorf("the order with %s: %v", card, err)
					return
				}
				time.Sleep(pause) // this is the moment that was drawn, not a wait for something
				_, err = p.orders.CancelOrder(p.as(t.Context(), p.tenant), &ordersv1.CancelOrderRequest{Id: id.String()})
				if err != nil && detailsOf(err).reason != "WRONG_STATE" {
					t.Errorf("cancel with %s: %v", card, err)
				}
			})
		}
	}
	clients.Wait()
	p.requireSound(t)
	// Every order was cancelled, or its card had been declined before.
	for state, many := range map[string]bool{"CANCELLED": true, "PAID": false, "PENDING_PAYMENT": false, "CANCELLING": false} {
		var n int
		require.NoError(t, p.ordersDB.QueryRow(t.Context(), `SELECT count(*) FROM orders WHERE state = $1`, state).Scan(&n))
		require.Equal(t, many, n > 0, "%d are %s", n, state)
	}
}

// placed waits for the first commit of the order with a note, and returns its id,
// which no client knows yet.
func (p *platform) placed(ctx context.Context, note string) (id uuid.UUID, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err = p.ordersDB.QueryRow(ctx, `SELECT id FROM orders WHERE shipping_note = $1`, note).Scan(&id)
		if err == nil || ctx.Err() != nil {
			return id, err
		}
		time.Sleep(time.Millisecond) // a poll: what is waited for is in no process of the test
	}
}
