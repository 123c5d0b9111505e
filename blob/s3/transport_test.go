package s3

import (
	"io"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connection gives both ends of a TCP connection.
func connection(t *testing.T) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	client, err = net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	server, err = listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

func TestStallGuard_endsAReadOnWhichNothingMoves(t *testing.T) {
	client, server := connection(t)
	guarded := stallGuard{Conn: client, limit: 50 * time.Millisecond}
	_, err := server.Write([]byte("some"))
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(guarded, got)
	require.NoError(t, err)
	_, err = guarded.Read(got)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestStallGuard_endsAWriteNobodyReads(t *testing.T) {
	client, _ := connection(t)
	guarded := stallGuard{Conn: client, limit: 50 * time.Millisecond}
	_, err := guarded.Write(make([]byte, 64<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestStallGuard_letsAReaderWaitWhileAWriterMoves(t *testing.T) {
	const limit = 200 * time.Millisecond
	client, server := connection(t)
	guarded := stallGuard{Conn: client, limit: limit}
	read := make(chan error, 1)
	go func() {
		_, err := guarded.Read(make([]byte, 1))
		read <- err
	}()
	tick := time.NewTicker(limit / 10)
	defer tick.Stop()
	for range 20 { // twice the limit
		<-tick.C
		_, err := guarded.Write([]byte("x"))
		require.NoError(t, err)
	}
	_, err := server.Write([]byte("y"))
	require.NoError(t, err)
	require.NoError(t, <-read)
}

func TestRangeHeader_followsRFC9110(t *testing.T) {
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, ""},
		{5, -1, "bytes=5-"},
		{0, 1, "bytes=0-0"},
		{5, 3, "bytes=5-7"},
		{0, math.MaxInt64, "bytes=0-9223372036854775806"},
		{5, math.MaxInt64, "bytes=5-"},
	} {
		assert.Equal(t, c.want, rangeHeader(c.offset, c.length))
	}
}
