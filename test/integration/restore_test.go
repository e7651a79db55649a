package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/invariants"
)

// forgetful is a platform whose databases can be put back to what they were.
type forgetful struct {
	*platform

	lost map[string]string // keys of orders that the backup does not have, and the orders' ids
}

// forget places orders, takes a backup, places more, and restores the backup.
func forget(t *testing.T) *forgetful {
	t.Helper()
	server := pgtest.Dedicated(t)
	f := &forgetful{platform: startOn(t, server.Database(nil, "orders"), server.Database(nil, "payments")), lost: map[string]string{}}
	for range 3 {
		f.retry(t, idempotency.NewKey().String(), fine())
	}
	backup := server.Backup()
	for range 3 {
		key := idempotency.NewKey().String()
		f.lost[key] = f.retry(t, key, fine())
		f.await(t, f.lost[key], paid)
	}
	server.Restore(backup)
	for _, id := range f.lost {
		await(t, "the order is forgotten", func() bool {
			_, err := f.orders.GetOrder(f.as(t.Context(), f.tenant), &ordersv1.GetOrderRequest{Id: id})
			return status.Code(err) == codes.NotFound
		})
	}
	return f
}

// processorKeys are the keys that the processor was ever given, in order.
func (p *platform) processorKeys(t *testing.T) (keys []string) {
	t.Helper()
	response, err := http.Get("http://" + p.sandboxProcess.http + "/v1/ledger")
	require.NoError(t, err)
	defer response.Body.Close()
	var ledger struct {
		Operations []struct {
			Key string `json:"key"`
		} `json:"operations"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&ledger))
	for _, operation := range ledger.Operations {
		keys = append(keys, operation.Key)
	}
	return keys
}

// TestARestoreFromABackupRepeatsNoProviderKey: whoever placed an order that was lost
// sends it again, and gets the same order, which the processor is not asked to pay
// twice; and what is new meets none of the names that the processor knows.
func TestARestoreFromABackupRepeatsNoProviderKey(t *testing.T) {
	t.Parallel()
	f := forget(t)
	before := f.processorKeys(t)
	require.Len(t, before, 6)

	for key, id := range f.lost {
		require.Equal(t, id, f.retry(t, key, fine()))
		f.await(t, id, paid)
	}
	require.Equal(t, before, f.processorKeys(t), "the processor answered from memory")

	for range 3 {
		f.await(t, f.retry(t, idempotency.NewKey().String(), fine()), paid)
	}
	after := f.processorKeys(t)
	require.Equal(t, before, after[:len(before)])
	require.Len(t, after, 9, "a key that the processor knew would have added nothing")
	f.requireSound(t)
}

// TestControlARestoreWithoutTheSecretChargesTwice: keys that derive from another
// secret are other keys.
func TestControlARestoreWithoutTheSecretChargesTwice(t *testing.T) {
	t.Parallel()
	f := forget(t)
	for _, process := range []*process{f.ordersProcess, f.paymentsProcess} {
		process.stop(t)
		process.environment["HOLDFAST_DERIVATION_SECRETS"] = "v1:" + strings.Repeat("1e", 32)
	}
	f.paymentsProcess.start(t)
	f.ordersProcess.start(t)
	for key, id := range f.lost {
		again := f.retry(t, key, fine())
		require.NotEqual(t, id, again)
		f.await(t, again, paid)
	}
	require.Len(t, f.processorKeys(t), 9)
	result, err := invariants.Check(t.Context(), invariants.Sources{
		Orders: f.ordersDB, Payments: f.paymentsDB, SandboxURL: "http://" + f.sandboxProcess.http,
	})
	require.NoError(t, err)
	require.Len(t, result.Violations, 3, "a charge of each order that nobody knows")
}
