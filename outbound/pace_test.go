package outbound

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace_refusesAWorkerThatOpensConnectionsWithoutEnd(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "kept") })
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, OpensPerSecond: 1, DialTimeout: 500 * time.Millisecond})
	client := through(t, socket)
	answer, _ := get(t, client, "http://kept.test:"+port+"/")
	require.Equal(t, http.StatusOK, answer.StatusCode)

	opened := 0
	for {
		conn, _, answer := dialConnect(t, socket, "echo.test:"+port)
		if answer.StatusCode == http.StatusOK {
			opened++
			require.Less(t, opened, 2000)
			require.NoError(t, conn.Close())
			continue
		}
		require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Contains(t, string(text), "opens connections faster than is allowed")
		break
	}
	require.GreaterOrEqual(t, opened, opensAtOnce-1)

	// What it has already goes on, and so does everybody else.
	answer, body := get(t, client, "http://kept.test:"+port+"/")
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	_, _, answer = dialConnect(t, listen(t, proxy, "org_1", "rel_2"), "echo.test:"+port)
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestPace_letsThoseWhoOpenManyWait(t *testing.T) {
	port := echo(t)
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, OpensPerSecond: 50, DialTimeout: patience})
	for range opensAtOnce + 10 {
		conn, _, answer := dialConnect(t, socket, "echo.test:"+port)
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.NoError(t, conn.Close())
	}
}
