//go:build !unix

package embedded

import (
	"context"
	"errors"
)

// A server of our own needs process groups, flock and signals.
var errUnsupported = errors.New("Holdfast starts Postgres by itself on Unix only; set HOLDFAST_DATABASE_URL")

type (
	account  struct{}
	fileLock struct{}
	signal   struct{}
)

var fast, immediate signal

func unprivileged() (*account, error) { return nil, errUnsupported }

func (*account) own(string) error { return errUnsupported }

func (s *Server) startEphemeral(context.Context) error { return errUnsupported }
func (s *Server) startLasting(context.Context) error   { return errUnsupported }
func (s *Server) stopEphemeral(context.Context) error  { return errUnsupported }
func (s *Server) stopLasting(context.Context) error    { return errUnsupported }
func (s *Server) launch(context.Context) error         { return errUnsupported }
func (s *Server) halt(context.Context, signal) error   { return errUnsupported }
