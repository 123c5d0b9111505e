package s3

import (
	"io"
	"math"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connection gives both ends of a connection whose deadlines go by the bubble's clock.
func connection(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client, server = net.Pipe()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

func TestStallGuard_endsAReadOnWhichNothingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connection(t)
		guarded := stallGuard{Conn: client, limit: time.Minute}
		go func() { _, _ = server.Write([]byte("some")) }()
		got := make([]byte, 4)
		_, err := io.ReadFull(guarded, got)
		require.NoError(t, err)
		began := time.Now()
		_, err = guarded.Read(got)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestStallGuard_endsAWriteNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connection(t)
		began := time.Now()
		_, err := stallGuard{Conn: client, limit: time.Minute}.Write([]byte("some"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestStallGuard_letsAReaderWaitWhileAWriterMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		client, server := connection(t)
		guarded := stallGuard{Conn: client, limit: limit}
		read := make(chan error, 1)
		go func() {
			_, err := guarded.Read(make([]byte, 1))
			read <- err
		}()
		go func() { _, _ = io.CopyN(io.Discard, server, 20) }()
		for range 20 { // twice the limit
			time.Sleep(limit / 10)
			_, err := guarded.Write([]byte("x"))
			require.NoError(t, err)
		}
		_, err := server.Write([]byte("y"))
		require.NoError(t, err)
		require.NoError(t, <-read)
	})
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
