package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/upstream"
)

// both runs a test with HTTP/1.1 and with HTTP/2 in front.
func both(t *testing.T, test func(t *testing.T, secure bool)) {
	for name, secure := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) { test(t, secure) })
	}
}

func TestStream_eventsArriveAsTheyAreSent(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		next := make(chan string)
		f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			for event := range next {
				fmt.Fprintf(w, "data: %s\n\n", event)
				w.(http.Flusher).Flush()
			}
		}), secure)
		response, err := f.httpClient().Get(f.server.URL) // the head comes before any event
		require.NoError(t, err)
		defer response.Body.Close()
		in := bufio.NewReader(response.Body)
		for _, event := range []string{"one", "two", "three"} {
			next <- event
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "data: "+event+"\n", line)
			_, _ = in.ReadString('\n')
		}
		close(next)
		_, err = in.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, f.err())
	})
}

func TestStream_bothDirectionsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex()
			_ = control.Flush()
			in := bufio.NewReader(r.Body)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				_, _ = io.WriteString(w, "echo "+line)
				_ = control.Flush()
			}
		}), secure)
		reader, writer := io.Pipe()
		request, err := http.NewRequest("POST", f.server.URL, reader)
		require.NoError(t, err)
		response, err := f.httpClient().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		in := bufio.NewReader(response.Body)
		for i := range 5 {
			_, err = fmt.Fprintf(writer, "line %d\n", i)
			require.NoError(t, err)
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("echo line %d\n", i), line)
		}
		require.NoError(t, writer.Close())
		_, err = in.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, f.err())
	})
}

func TestStream_largeBodiesArriveWhole(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		const size = 8 << 20
		content := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
		for _, chunked := range []bool{false, true} {
			f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if !chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				_, _ = w.Write(body)
			}), secure)
			f.change = func(how *upstream.Forwarding) { how.Pace = upstream.Pace{Grace: patience, Rate: 1 << 20} }
			for range 2 {
				response, err := f.httpClient().Post(f.server.URL, "text/plain", bytes.NewReader(content))
				require.NoError(t, err)
				got, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				_ = response.Body.Close()
				require.True(t, bytes.Equal(content, got))
				require.NoError(t, f.err())
			}
			require.Equal(t, int64(1), f.dials.Load(), "one connection for both")
		}
	})
}

func TestStream_trailersCrossBothWays(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.Copy(w, r.Body)
			w.Header().Set("X-Sum", r.Trailer.Get("X-Sum")+"!")
			w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
		}), secure)
		request, err := http.NewRequest("POST", f.server.URL, io.MultiReader(strings.NewReader("body")))
		require.NoError(t, err)
		request.Trailer = http.Header{"X-Sum": {"42"}}
		response, err := f.httpClient().Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, "body", string(body))
		require.Equal(t, "42!", response.Trailer.Get("X-Sum"))
		require.Equal(t, "yes", response.Trailer.Get("X-Late"))
	})
}

func TestStream_earlyHintsComeFirst(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		f := newFront(t, say(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), secure)
		var hints textproto.MIMEHeader
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			require.Equal(t, 103, code)
			hints = header
			return nil
		}})
		request, err := http.NewRequestWithContext(ctx, "GET", f.server.URL, nil)
		require.NoError(t, err)
		response, err := f.httpClient().Do(request)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, "</a>", hints.Get("Link"))
		require.Empty(t, response.Header.Get("Link"))
	})
}

const expecting = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

func TestExpect_bodyIsSentWhenTheServerSaysSo(t *testing.T) {
	bodies := make(chan string, 1)
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		head, _ := readHead(in)
		if !strings.Contains(head, "Expect: 100-continue\r\n") {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		body := make([]byte, 5)
		_, _ = io.ReadFull(in, body)
		bodies <- string(body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}), false)
	client := f.dial()
	_, err := io.WriteString(client, expecting)
	require.NoError(t, err)
	in := bufio.NewReader(client)
	head, err := readHead(in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(head, "HTTP/1.1 100 Continue\r\n"), head)
	_, err = io.WriteString(client, "hello")
	require.NoError(t, err)
	head, err = readHead(in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n"), head)
	require.Equal(t, "hello", <-bodies)
}

func TestExpect_bodyIsNotAskedForWhenTheServerRefuses(t *testing.T) {
	rest := make(chan string, 1)
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		_, _ = readHead(in)
		_, _ = io.WriteString(conn, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
		more, _ := io.ReadAll(in)
		rest <- string(more)
	}), false)
	began := time.Now()
	answer := f.send(expecting)
	if time.Since(began) < upstream.ContinuePatience { // after that the client is asked all the same
		require.NotContains(t, answer, "100 Continue")
	}
	require.Contains(t, answer, "HTTP/1.1 417 ")
	require.Contains(t, answer, "Connection: close\r\n")
	require.Empty(t, <-rest)
}

func TestExpect_serverThatIgnoresItGetsTheBody(t *testing.T) {
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		_, _ = readHead(in)
		body := make([]byte, 5)
		_, _ = io.ReadFull(in, body)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", body)
	}), false)
	client := f.dial()
	_, err := io.WriteString(client, expecting)
	require.NoError(t, err)
	in := bufio.NewReader(client)
	head, err := readHead(in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(head, "HTTP/1.1 100 Continue\r\n"), head)
	_, err = io.WriteString(client, "hello")
	require.NoError(t, err)
	head, err = readHead(in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n"), head)
}

func TestUpload_earlyAnswerArrivesAndEndsTheConnection(t *testing.T) {
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		_, _ = readHead(in)
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, in) // the dispatcher hangs up
	}), false)
	// What follows looks like a request, and must not be taken for one.
	answer := f.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Equal(t, 1, strings.Count(answer, "HTTP/1.1 "), answer)
	require.Contains(t, answer, "413")
	require.Contains(t, answer, "Connection: close\r\n")
	require.True(t, strings.HasSuffix(answer, "no"))
	require.NoError(t, f.err())
}

func TestUpload_serverThatReadsNothingDoesNotHoldTheClient(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
			_, _ = readHead(in)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = io.Copy(io.Discard, in)
		}), secure)
		reader, writer := io.Pipe() // a body that never ends
		defer writer.Close()
		go func() { _, _ = writer.Write(make([]byte, 1<<20)) }()
		response, err := f.httpClient().Post(f.server.URL, "text/plain", reader)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, "ok", string(body))
		require.NoError(t, f.err())
	})
}

func TestUpload_streamedBodyIsBounded(t *testing.T) {
	f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), false)
	f.change = func(how *upstream.Forwarding) { how.MaxBody = 1000 }
	for name, request := range map[string]string{
		"announced": "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1001\r\n\r\n",
		"streamed":  "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n",
	} {
		require.Contains(t, f.send(request), "HTTP/1.1 400 ", name)
		require.ErrorIs(t, f.err(), upstream.ErrBodyTooLarge, name)
	}
	require.Contains(t, f.send("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n"+strings.Repeat("x", 1000)), " 200 ")
}

func TestUpload_tooSlowClientIsLetGo(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), secure)
		f.change = func(how *upstream.Forwarding) {
			how.Pace = upstream.Pace{Grace: 100 * time.Millisecond, Rate: 1 << 20}
		}
		reader, writer := io.Pipe()
		defer writer.Close()
		response, err := f.httpClient().Post(f.server.URL, "text/plain", reader)
		if err == nil {
			require.Equal(t, 400, response.StatusCode)
			_ = response.Body.Close()
		}
		err = f.err()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var failed *upstream.Error
		require.ErrorAs(t, err, &failed)
		require.Equal(t, upstream.StageClient, failed.Stage)
	})
}

func TestUpload_brokenByTheClientIsNotTheServersFault(t *testing.T) {
	ended := make(chan error, 1)
	f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	}), false)
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
	} {
		conn := f.dial()
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		var failed *upstream.Error
		require.ErrorAs(t, f.err(), &failed)
		require.Equal(t, upstream.StageClient, failed.Stage, request)
		require.Error(t, <-ended, "the server does not take it for a whole body")
	}
}

func TestDisconnect_endsTheServersWork(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		for _, begun := range []bool{false, true} {
			arrived, left := make(chan struct{}, 1), make(chan struct{}, 1)
			f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if begun {
					_, _ = io.WriteString(w, "part")
					w.(http.Flusher).Flush()
				}
				arrived <- struct{}{}
				<-r.Context().Done()
				left <- struct{}{}
			}), secure)
			ctx, cancel := context.WithCancel(t.Context())
			request, err := http.NewRequestWithContext(ctx, "GET", f.server.URL, nil)
			require.NoError(t, err)
			var client sync.WaitGroup
			client.Go(func() {
				response, err := f.httpClient().Do(request)
				if err == nil {
					_, err = io.ReadAll(response.Body)
					_ = response.Body.Close()
				}
				require.Error(t, err)
			})
			<-arrived
			cancel()
			select {
			case <-left:
			case <-time.After(patience):
				t.Fatal("the server was not told")
			}
			client.Wait()
			var failed *upstream.Error
			require.ErrorAs(t, f.err(), &failed)
			require.Equal(t, upstream.StageClient, failed.Stage)
		}
	})
}

func TestTimeout_boundsTheWaitForAnAnswer(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	}), false)
	f.change = func(how *upstream.Forwarding) { how.AnswerTimeout = 50 * time.Millisecond }
	for _, request := range []string{get, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab"} {
		require.Contains(t, f.send(request), "502 Bad Gateway")
		require.ErrorIs(t, f.err(), os.ErrDeadlineExceeded)
	}
}

func TestTimeout_leavesASlowUploadAndAQuietStreamAlone(t *testing.T) {
	const limit, pause = 50 * time.Millisecond, 150 * time.Millisecond
	f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.(http.Flusher).Flush()
		time.Sleep(pause) // not a wait for something: the stream is what is quiet
		_, _ = io.WriteString(w, "late")
	}), false)
	f.change = func(how *upstream.Forwarding) { how.AnswerTimeout = limit }
	ask := func() (answer string, err error) {
		conn := f.dial()
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\na")
		require.NoError(t, err)
		time.Sleep(pause) // the client is what is slow
		_, err = io.WriteString(conn, "b")
		require.NoError(t, err)
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		return string(all), f.err()
	}
	answer, err := ask()
	// On a busy machine the head itself may come after the limit.
	for range 50 {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		answer, err = ask()
	}
	require.NoError(t, err)
	require.Contains(t, answer, "late")
}

func TestDial_failureIsToldApart(t *testing.T) {
	refused := errors.New("refused")
	client := upstream.New(upstream.Options{Dial: func(context.Context) (net.Conn, error) { return nil, refused }})
	request, err := http.NewRequest("GET", "http://h/", nil)
	require.NoError(t, err)
	err = client.Forward(nil, request, upstream.Forwarding{Target: "/", Host: "h"})
	var failed *upstream.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, upstream.StageDial, failed.Stage)
	require.ErrorIs(t, err, refused)
}
