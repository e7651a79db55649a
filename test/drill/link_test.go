package drill_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// line is a connection over a link to a replica that answers its name.
type line struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func startLink(t *testing.T) *drill.Link {
	t.Helper()
	link, err := drill.NewLink(t.Context(), startReplica(t, "far").GRPC)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	return link
}

func dial(t *testing.T, link *drill.Link) *line {
	t.Helper()
	conn, err := net.Dial("tcp", link.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &line{t, conn, bufio.NewReader(conn)}
}

func (l *line) send() error {
	_, err := fmt.Fprintln(l.conn, "who?")
	return err
}

// answer waits for the next answer, for at most that long.
func (l *line) answer(patience time.Duration) (string, error) {
	require.NoError(l.t, l.conn.SetReadDeadline(time.Now().Add(patience)))
	return l.in.ReadString('\n')
}

func (l *line) ask(patience time.Duration) (string, error) {
	if err := l.send(); err != nil {
		return "", err
	}
	return l.answer(patience)
}

// requireReset opens a connection that is reset: at once, or when it is read.
func requireReset(t *testing.T, link *drill.Link) {
	t.Helper()
	conn, err := net.Dial("tcp", link.Addr())
	if err == nil {
		defer conn.Close()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(long)))
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

const long = 10 * time.Second // no test waits as long

func TestALinkCarriesBothWays(t *testing.T) {
	far := dial(t, startLink(t))
	for range 3 {
		answer, err := far.ask(long)
		require.NoError(t, err)
		require.Equal(t, "far\n", answer)
	}
	require.NoError(t, far.conn.(*net.TCPConn).CloseWrite())
	_, err := far.answer(long)
	require.ErrorContains(t, err, "EOF", "a close arrives as a close")
}

func TestACutLinkResetsWhatIsOpenAndWhatIsNew(t *testing.T) {
	link := startLink(t)
	open := dial(t, link)
	_, err := open.ask(long)
	require.NoError(t, err)
	link.Cut()
	_, err = open.answer(long)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	requireReset(t, link)

	link.Heal()
	answer, err := dial(t, link).ask(long)
	require.NoError(t, err)
	require.Equal(t, "far\n", answer)
}

func TestAFrozenLinkLosesNothingAndClosesNothing(t *testing.T) {
	link := startLink(t)
	far := dial(t, link)
	_, err := far.ask(long)
	require.NoError(t, err)
	link.Freeze()
	_, err = far.ask(200 * time.Millisecond)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing comes, not even an end")
	link.Heal()
	answer, err := far.answer(long)
	require.NoError(t, err)
	require.Equal(t, "far\n", answer, "what was under way arrives")
}

func TestASlowLinkHasAnswersComeLater(t *testing.T) {
	link := startLink(t)
	far := dial(t, link)
	const delay = 300 * time.Millisecond
	link.Slow(delay)
	began := time.Now()
	for range 5 { // a latency: five at once take as long as one
		require.NoError(t, far.send())
	}
	for range 5 {
		_, err := far.answer(long)
		require.NoError(t, err)
	}
	took := time.Since(began)
	require.GreaterOrEqual(t, took, delay)
	require.Less(t, took, 5*delay)

	link.Slow(time.Hour)
	require.NoError(t, far.send())
	link.Heal()
	_, err := far.answer(long)
	require.NoError(t, err, "what was held back arrives when the link is healed")
}

func TestALinkToNobodyResets(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	link, err := drill.NewLink(t.Context(), listener.Addr().String())
	require.NoError(t, err)
	defer link.Close()
	requireReset(t, link)
}
