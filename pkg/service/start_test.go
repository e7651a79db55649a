package service

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/faults"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/telemetry"
)

// run runs one command and returns what it said.
func run(t *testing.T, def Definition, environ map[string]string, args ...string) (string, error) {
	t.Helper()
	var stdout bytes.Buffer
	err := Run(t.Context(), def, args, &stdout, WithEnvironment(environ), WithLogs(io.Discard))
	return stdout.String(), err
}

func TestTheGraphOfAServiceIsComplete(t *testing.T) {
	def := definition(&shop{})
	def.Migrations = fstest.MapFS{}
	s, err := readSettings(def, environment("HOLDFAST_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"))
	require.NoError(t, err)
	require.NoError(t, fx.ValidateApp(
		fx.NopLogger,
		common(s, &telemetry.Telemetry{Logger: discard}, &health.Health{}, &resilience.Registry{}, &faults.Injector{}),
		def.Module,
		database(t.Context(), def),
		fx.Invoke(func(*pgxpool.Pool, postgres.Config, *idempotency.Store) {}),
		assemble(t.Context(), def, 0, func(*public) {}),
	))
}

func TestAllThatIsWrongWithTheConfigurationIsReportedAtOnce(t *testing.T) {
	def := definition(&shop{})
	def.Migrations = fstest.MapFS{}
	_, err := run(t, def, map[string]string{
		"HOLDFAST_ENV":         "staging",
		"HOLDFAST_LAME_DUCK":   "soon",
		"HOLDFAST_LOG_LEVEL":   "loud",
		"HOLDFAST_TRACE_RATIO": "2",
	})
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	for _, wanted := range []string{"HOLDFAST_ENV", "HOLDFAST_LAME_DUCK", "HOLDFAST_LOG_LEVEL", "HOLDFAST_DATABASE_URL"} {
		require.Contains(t, err.Error(), wanted)
	}
	for _, line := range lines {
		require.Contains(t, line, "HOLDFAST_", "each line names a variable")
		require.Less(t, len(line), 200)
	}

	_, err = run(t, definition(&shop{}), environment("HOLDFAST_ADMIN_ADDR", "0.0.0.0:0", "HOLDFAST_DRAIN_CAP", "0s", "HOLDFAST_TRACE_RATIO", "2"))
	for _, wanted := range []string{"HOLDFAST_ADMIN_ADDR", "HOLDFAST_DRAIN_CAP", "HOLDFAST_TRACE_RATIO"} {
		require.ErrorContains(t, err, wanted)
	}
}

func TestProductionDoesNotStartWithoutKeysOfItsOwn(t *testing.T) {
	_, err := run(t, definition(&shop{}), environment("HOLDFAST_ENV", "production"))
	require.ErrorContains(t, err, "HOLDFAST_API_KEYS_FILE")
}

func TestAPortThatIsTakenIsOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, variable := range []string{"HOLDFAST_GRPC_ADDR", "HOLDFAST_HTTP_ADDR", "HOLDFAST_PROBE_ADDR", "HOLDFAST_ADMIN_ADDR"} {
		_, err := run(t, definition(&shop{}), environment(variable, taken.Addr().String()))
		require.ErrorContains(t, err, taken.Addr().String()+" is taken")
		require.ErrorContains(t, err, variable)
		require.NotContains(t, err.Error(), "\n")
	}
}

var registerNaked sync.Once // the registry of protos is the process's

// nakedService is a service whose methods have no policies.
func nakedService(t *testing.T) *grpc.ServiceDesc {
	t.Helper()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("naked.proto"), Package: proto.String("naked.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Nothing")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("NakedService"),
			Method: []*descriptorpb.MethodDescriptorProto{
				{Name: proto.String("Do"), InputType: proto.String(".naked.v1.Nothing"), OutputType: proto.String(".naked.v1.Nothing")},
				{Name: proto.String("Undo"), InputType: proto.String(".naked.v1.Nothing"), OutputType: proto.String(".naked.v1.Nothing")},
			},
		}},
	}, new(protoregistry.Files))
	require.NoError(t, err)
	registerNaked.Do(func() { require.NoError(t, protoregistry.GlobalFiles.RegisterFile(file)) })
	return &grpc.ServiceDesc{ServiceName: "naked.v1.NakedService", HandlerType: (*any)(nil)}
}

func TestAMethodWithoutAPolicyStopsTheStartAndIsNamed(t *testing.T) {
	desc := nakedService(t)
	def := Definition{Name: "naked", Module: ProvideAPI(func() API {
		return API{Register: func(r grpc.ServiceRegistrar) { r.RegisterService(desc, struct{}{}) }}
	})}
	_, err := run(t, def, environment())
	require.ErrorContains(t, err, "/naked.v1.NakedService/Do ")
	require.ErrorContains(t, err, "/naked.v1.NakedService/Undo ")
	require.ErrorContains(t, err, "no policy")
}

func TestAMethodThatNeedsAKeyNeedsAStore(t *testing.T) {
	s := &shop{}
	_, err := enforcePolicies([]API{{Register: func(r grpc.ServiceRegistrar) { registerShop(r, s) }}}, nil)
	require.ErrorContains(t, err, "CreateOrder needs an idempotency key")
	require.ErrorContains(t, err, "CancelOrder needs an idempotency key")
}

func TestAServiceWaitsForItsDatabaseAndGivesUpWithOneLine(t *testing.T) {
	def := definition(&shop{})
	def.Migrations = fstest.MapFS{"00001_first.sql": &fstest.MapFile{Data: []byte("-- +goose Up")}}
	_, err := run(t, def, environment(
		"HOLDFAST_DATABASE_URL", "postgres://nobody:secret@127.0.0.1:1/none", "HOLDFAST_DATABASE_CONNECT_BOUND", "300ms"))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n", "one line")
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "could not build", "no words of the wiring")
}

func TestToldToStopWhileStarting(t *testing.T) {
	def := definition(&shop{})
	def.Migrations = fstest.MapFS{"00001_first.sql": &fstest.MapFile{Data: []byte("-- +goose Up")}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, def, nil, io.Discard, WithLogs(io.Discard),
			WithEnvironment(environment("HOLDFAST_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")))
	}()
	stop()
	select {
	case err := <-done:
		require.NoError(t, err, "it was asked to")
	case <-time.After(10 * time.Second):
		require.Fail(t, "it did not stop")
	}
}

func TestCommands(t *testing.T) {
	def := definition(&shop{})
	i := start(t, def)
	running := environment("HOLDFAST_PROBE_ADDR", i.Probe, "HOLDFAST_ADMIN_ADDR", i.Admin)

	_, err := run(t, def, running, "health")
	require.NoError(t, err)
	said, err := run(t, def, running, "drain")
	require.NoError(t, err)
	require.Equal(t, "shop is draining\n", said)
	_, err = run(t, def, running, "health")
	require.ErrorContains(t, err, "draining")
	_, err = run(t, def, running, "health", "live")
	require.NoError(t, err)
	said, err = run(t, def, running, "undrain")
	require.NoError(t, err)
	require.Equal(t, "shop is ready\n", said)

	said, err = run(t, def, nil, "version")
	require.NoError(t, err)
	require.Contains(t, said, Version)
	said, err = run(t, def, nil, "config")
	require.NoError(t, err)
	for _, v := range config.Describe(def.Configs()...) {
		require.Contains(t, said, v.Name)
		require.NotEmpty(t, v.Doc, "%s has no doc tag", v.Name)
	}
	_, err = run(t, def, running, "migrate")
	require.ErrorContains(t, err, "has no database")
	_, err = run(t, def, running, "dance")
	require.ErrorContains(t, err, `unknown command "dance"`)

	_, err = run(t, def, environment("HOLDFAST_PROBE_ADDR", "127.0.0.1:1"), "health")
	require.ErrorContains(t, err, "does not answer")
}

// TestStopTimeoutFitsItsParts: fx gives all stop hooks one budget.
func TestStopTimeoutFitsItsParts(t *testing.T) {
	cfg, err := config.Load[Config](map[string]string{})
	require.NoError(t, err, "the defaults are fine")
	require.Equal(t, cfg.LameDuck+cfg.DrainCap+cfg.StopWorkers+cfg.ClosePool+stopMargin, cfg.stopTimeout())
	const grace, preStop = 45 * time.Second, 5 * time.Second // of the manifests
	require.LessOrEqual(t, preStop+cfg.stopTimeout()+cfg.FlushTelemetry, grace)
}

func TestEveryVariableIsNamedAfterThePlatform(t *testing.T) {
	for _, v := range config.Describe(definition(&shop{}).Configs()...) {
		// GOMAXPROCS and GOMEMLIMIT are the Go runtime's.
		require.Regexp(t, "^(HOLDFAST_|OTEL_|GOMAXPROCS$|GOMEMLIMIT$)", v.Name)
	}
}
