package dispatcher_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dispatcher"
)

// echoing answers each request with its body, or with what was wrong about it.
func echoing(t *testing.T, change func(*dispatcher.Options)) *world {
	w := newWorld(t, change)
	w.server.Handle(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
		case err != nil:
			rw.WriteHeader(http.StatusBadRequest)
		default:
			for name, values := range r.Trailer {
				rw.Header()["Trailer-"+name] = values
			}
			_, _ = io.WriteString(rw, r.URL.Path+" "+string(body))
		}
	}))
	return w
}

const post = "POST /a HTTP/1.1\r\nHost: a.localhost\r\n"

func TestFrontBody_passesBodiesAndTheRequestsBehindThem(t *testing.T) {
	w := echoing(t, nil)
	large := strings.Repeat("0123456789", 20_000)
	for name, c := range map[string]struct{ request, want string }{
		"a length":              {post + "Content-Length: 5\r\n\r\nhello", "/a hello"},
		"no body":               {post + "Content-Length: 0\r\n\r\n", "/a "},
		"a large body":          {post + "Content-Length: 200000\r\n\r\n" + large, "/a " + large},
		"chunks":                {post + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "/a hello"},
		"upper case":            {post + "transfer-encoding: Chunked\r\n\r\n0A\r\n0123456789\r\n000\r\n\r\n", "/a 0123456789"},
		"extensions":            {post + "Transfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n", "/a hello"},
		"a large chunk":         {post + "Transfer-Encoding: chunked\r\n\r\n30d40\r\n" + large + "\r\n0\r\n\r\n", "/a " + large},
		"trailers":              {post + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", "/a hello"},
		"an empty line after":   {post + "Content-Length: 5\r\n\r\nhello\r\n", "/a hello"},
		"a body that is a head": {post + "Content-Length: 37\r\n\r\nGET /b HTTP/1.1\r\nHost: a.localhost\r\n\r", "/a GET /b HTTP/1.1\r\nHost: a.localhost\r\n\r"},
	} {
		for _, size := range []int{1 << 20, 4096, 13} {
			if size < 100 && len(c.request) > 10_000 {
				continue
			}
			conn := w.dial()
			go func() {
				for all := c.request + c.request + "GET /b HTTP/1.1\r\nHost: a.localhost\r\n\r\n"; all != ""; {
					part := min(size, len(all))
					if _, err := io.WriteString(conn, all[:part]); err != nil {
						return
					}
					all = all[part:]
				}
			}()
			require.Equal(t, c.want, conn.read("POST").body, name)
			require.Equal(t, c.want, conn.read("POST").body, name)
			require.Equal(t, "/b ", conn.read("GET").body, name)
		}
	}
}

func TestFrontBody_refusesChunksThatEndInTwoPlaces(t *testing.T) {
	w := echoing(t, nil)
	for name, chunks := range map[string]string{
		"bare line feed after the size": "5\nhello\r\n0\r\n\r\n",
		"bare line feed after the data": "5\r\nhello\n0\r\n\r\n",
		"bare line feed at the end":     "5\r\nhello\r\n0\r\n\n",
		"bare carriage return":          "5\rhello\r\n0\r\n\r\n",
		"no line end after the data":    "5\r\nhello0\r\n\r\n",
		"a longer chunk than said":      "5\r\nhello!\r\n0\r\n\r\n",
		"hexadecimal prefix":            "0x5\r\nhello\r\n0\r\n\r\n",
		"a sign":                        "+5\r\nhello\r\n0\r\n\r\n",
		"a space before":                " 5\r\nhello\r\n0\r\n\r\n",
		"a space after":                 "5 \r\nhello\r\n0\r\n\r\n",
		"an underscore":                 "0_5\r\nhello\r\n0\r\n\r\n",
		"no size":                       "\r\nhello\r\n0\r\n\r\n",
		"a size too large to hold":      "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"a long extension":              "5;" + strings.Repeat("x", 300) + "\r\nhello\r\n0\r\n\r\n",
		"many extensions":               strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\na\r\n", 100) + "0\r\n\r\n",
		"line feed in an extension":     "5;a\nb\r\nhello\r\n0\r\n\r\n",
		"NUL in an extension":           "5;\x00\r\nhello\r\n0\r\n\r\n",
		"a length as trailer":           "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
		"a coding as trailer":           "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a host as trailer":             "5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
		"a folded trailer":              "5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
		"a trailer without a colon":     "5\r\nhello\r\n0\r\nX-A\r\n\r\n",
		"a long trailer":                "5\r\nhello\r\n0\r\nX-A: " + strings.Repeat("x", 9000) + "\r\n\r\n",
	} {
		conn := w.dial()
		conn.send(post + "Transfer-Encoding: chunked\r\n\r\n" + chunks + "GET /smuggled HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
		require.Equal(t, 400, conn.read("POST").status, name)
		rest, _ := io.ReadAll(conn.answers)
		require.Empty(t, rest, name)
	}
}

func TestFrontBody_boundsWhatChunksMayHold(t *testing.T) {
	w := echoing(t, func(o *dispatcher.Options) { o.Limits.RequestBytes = 100 })
	conn := w.dial()
	conn.send(post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("a\r\n0123456789\r\n", 11) + "0\r\n\r\n")
	require.Equal(t, 413, conn.read("POST").status)
	conn = w.dial()
	conn.send(post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("a\r\n0123456789\r\n", 10) + "0\r\n\r\n")
	require.Equal(t, 200, conn.read("POST").status)
}

func TestFrontBody_thatDripsIsCutOff(t *testing.T) {
	w := echoing(t, func(o *dispatcher.Options) {
		o.Limits.SlowGrace = 300 * time.Millisecond
		o.Limits.BodyRate = 1 << 20
	})
	for _, framing := range []string{"Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
		conn := w.dial()
		conn.send(post + framing)
		for {
			if _, err := io.WriteString(conn, "1\r\nx\r\n"); err != nil {
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server was to end it")
				break
			}
			time.Sleep(20 * time.Millisecond) // the client's pace
		}
	}
}

func TestFrontBody_isAskedForOnlyWhenItIsWanted(t *testing.T) {
	w := echoing(t, nil)
	conn := w.dial()
	conn.send(post + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	line, err := conn.answers.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = conn.answers.ReadString('\n')
	require.NoError(t, err)
	conn.send("hello")
	require.Equal(t, "/a hello", conn.read("POST").body)
}

func TestFront_stepsAsideAfterAnUpgrade(t *testing.T) {
	w := newWorld(t, nil)
	w.server.Handle(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.CopyN(conn, buffered, 11)
	}))
	for _, early := range []int{0, 5, 11} {
		conn := w.dial()
		const message = "\x00\x01not\nHTTP"
		conn.send("GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" + (message + "!!")[:early])
		a, err := http.ReadResponse(conn.answers, nil)
		require.NoError(t, err)
		require.Equal(t, 101, a.StatusCode)
		conn.send((message + "!!")[early:])
		got := make([]byte, 11)
		_, err = io.ReadFull(conn.answers, got)
		require.NoError(t, err)
		require.Equal(t, (message + "!!")[:11], string(got))
	}
}

func TestFront_aClientThatLeavesEndsItsRequest(t *testing.T) {
	w := newWorld(t, nil)
	began, ended := make(chan struct{}), make(chan struct{})
	w.server.Handle(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	}))
	conn := w.dial()
	conn.send("GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
	<-began
	require.NoError(t, conn.Close())
	<-ended
}
