package service

import (
	"errors"
	"log/slog"
	"reflect"

	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
	"github.com/holdfast-dev/holdfast/pkg/resources"
	"github.com/holdfast-dev/holdfast/pkg/telemetry"
)

// Configs are all Config structs that the service reads, its own and those of
// the packages it stands on: what [config.Describe] takes.
func (d Definition) Configs() []any {
	all := []any{Config{}, telemetry.Config{}, auth.Config{}, ratelimit.Config{}, resources.Config{}, shed.Config{}}
	if d.Migrations != nil {
		all = append(all, postgres.Config{})
	}
	known := map[reflect.Type]bool{}
	for _, c := range all {
		known[reflect.TypeOf(c)] = true
	}
	for _, c := range d.Config {
		if t := reflect.TypeOf(c); !known[t] {
			known[t] = true
			all = append(all, c)
		}
	}
	return all
}

// settings is what a process was told: its Config structs as read.
type settings struct {
	values map[reflect.Type]reflect.Value
}

// setting returns the Config of one type; the zero value if the service has
// none.
func setting[T any](s settings) T {
	t := reflect.TypeFor[T]()
	if value, ok := s.values[t]; ok {
		return value.Elem().Interface().(T)
	}
	var none T
	return none
}

// readSettings reads all configuration. Its error has everything that is wrong,
// one line each.
func readSettings(def Definition, environ map[string]string) (settings, error) {
	s := settings{values: map[reflect.Type]reflect.Value{}}
	var pointers []any
	for _, c := range def.Configs() {
		pointer := reflect.New(reflect.TypeOf(c))
		s.values[reflect.TypeOf(c)] = pointer
		pointers = append(pointers, pointer.Interface())
	}
	problems := []error{def.checkDefaults(), config.Into(pointers, def.environment(environ))}
	if def.Migrations != nil && setting[postgres.Config](s).URL == "" {
		problems = append(problems, errors.New("HOLDFAST_DATABASE_URL is not set"))
	}
	return s, errors.Join(problems...)
}

// checkKeys finds out early whether the API keys can be read, so that it is
// reported together with all other mistakes.
func (s settings) checkKeys() error {
	environment := setting[Config](s).Environment
	if environment == "" {
		return nil // wrong itself; which rules hold is not known
	}
	_, err := auth.NewKeySet(setting[auth.Config](s), environment, slog.New(slog.DiscardHandler))
	return err
}

// supply provides every Config to the graph.
func (s settings) supply() fx.Option {
	var values []any
	for _, value := range s.values {
		values = append(values, value.Elem().Interface())
	}
	return fx.Supply(values...)
}
