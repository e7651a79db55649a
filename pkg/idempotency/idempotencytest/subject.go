package idempotencytest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Subject is a method that needs a key, on a service that runs.
type Subject struct {
	// Method is the full name, such as
	// "/holdfast.orders.v1.OrdersService/CreateOrder".
	Method string
	// Conn is connected to the service's gRPC listener, without credentials.
	Conn grpc.ClientConnInterface
	// HTTP is the base URL of the service's gateway. Empty leaves HTTP out.
	HTTP string
	// Pool is the service's database, where the suite makes keys old and holds
	// them in flight.
	Pool *pgxpool.Pool
	// Tenant owns Token, which may call the method. OtherToken belongs to another
	// tenant and may call it too.
	Tenant, Token, OtherToken string
	// Request makes a request that succeeds, bringing about whatever it needs,
	// such as a payment to capture. Each call makes one that is independent of
	// those before.
	Request func(t testing.TB) proto.Message
	// Mutate changes a request into another valid one.
	Mutate func(request proto.Message)
	// Invalidate changes a request into one that validation refuses.
	Invalidate func(request proto.Message)
	// Effects counts what the method has done so far, in the service's own
	// records or, better, in the world's.
	Effects func(t testing.TB) int
	// Obstruct changes the world such that the request under another key would
	// now fail, as when its product is withdrawn, and returns how to undo it.
	Obstruct func(t testing.TB, request proto.Message) (undo func())
}
