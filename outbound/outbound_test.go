package outbound

import (
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

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestProxy_originatesTLSAndHTTP2(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaks.VerifyNone(t, before) })
	port, roots := origin(t, true, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %v %s", r.Proto, r.Host, r.RequestURI, r.Header["User-Agent"], r.TLS.ServerName)
	})
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, RootCAs: roots})
	answer, body := get(t, through(t, socket), "https://example.com:"+port+"/a%2Fb//c?d=%zz&e;f")
	require.Equal(t, http.StatusOK, answer.StatusCode, body)
	require.Equal(t, "HTTP/2.0 example.com:"+port+" /a%2Fb//c?d=%zz&e;f [] example.com", body)
	answer, _ = get(t, through(t, socket), "https://other.org:"+port+"/")
	require.Equal(t, http.StatusBadGateway, answer.StatusCode, "the certificate is for another name")
}

func TestProxy_keepsHeadersAndDropsWhatIsBetweenOurselves(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Slipway-Route"] = []string{"forged"}
		w.Header()["Content-Encoding"] = []string{"gzip"}
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header()["Seen"] = []string{fmt.Sprint(r.Host, r.Header)}
		_, _ = w.Write([]byte("not really gzip"))
	})
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	request, _ := http.NewRequest(http.MethodGet, "http://a.test:"+port+"/", nil)
	request.Header = http.Header{"X-Slipway-Organization": {"org_2"}, "X-Forwarded-For": {"1.2.3.4"}, "Cookie": {"c=1"},
		"Keep-Alive": {"1"}, "Proxy-Authorization": {"secret"}, "X-Hop": {"1"}, "Connection": {"x-hop"}, "User-Agent": {"mine"}}
	answer, err := through(t, socket).Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	require.Equal(t, "not really gzip", string(body), "what is said to be compressed is left alone")
	require.Equal(t, []string{"a=1", "b=2"}, answer.Header["Set-Cookie"])
	require.NotContains(t, answer.Header, "X-Slipway-Route")
	seen := answer.Header.Get("Seen")
	require.Equal(t, "a.test:"+port+"map[Cookie:[c=1] User-Agent:[mine] X-Forwarded-For:[1.2.3.4]]", seen)
}

func TestProxy_leavesRedirectsToTheWorker(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	})
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	answer, _ := get(t, through(t, socket), "http://a.test:"+port+"/")
	require.Equal(t, http.StatusFound, answer.StatusCode)
	require.Equal(t, "http://169.254.169.254/", answer.Header.Get("Location"))
}

func TestProxy_streamsBothWaysWithTrailers(t *testing.T) {
	port, roots := origin(t, true, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Digest")
		buffer := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, buffer); err != nil {
				break
			}
			_, _ = w.Write(buffer)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Digest", "end")
	})
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, RootCAs: roots})
	upload, feed := io.Pipe()
	request, _ := http.NewRequest(http.MethodPost, "https://example.com:"+port+"/", upload)
	go func() { _, _ = feed.Write([]byte("a")) }()
	answer, err := through(t, socket).Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	got := make([]byte, 1)
	for _, letter := range []string{"a", "b", "c"} {
		if letter != "a" {
			_, err := feed.Write([]byte(letter))
			require.NoError(t, err)
		}
		_, err := io.ReadFull(answer.Body, got)
		require.NoError(t, err)
		require.Equal(t, letter, string(got), "each byte comes back before the next is sent")
	}
	require.EqualValues(t, 1, proxy.Usage()["org_1"].Active)
	feed.Close()
	_, err = io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, "end", answer.Trailer.Get("Digest"))
}

func TestProxy_keepsInterimAnswersBack(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	})
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	request, _ := http.NewRequest(http.MethodGet, "http://a.test:"+port+"/", nil)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		t.Errorf("an interim answer %d", code)
		return nil
	}})
	answer, err := through(t, socket).Do(request.WithContext(ctx))
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusNoContent, answer.StatusCode)
}

func TestProxy_upgradesToWebSockets(t *testing.T) {
	port, roots := origin(t, true, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		kind, message, err := conn.Read(r.Context())
		if err == nil {
			_ = conn.Write(r.Context(), kind, append(message, '!'))
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	})
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, RootCAs: roots})
	conn, _, err := websocket.Dial(t.Context(), "https://example.com:"+port+"/", &websocket.DialOptions{HTTPClient: through(t, socket)})
	require.NoError(t, err)
	defer func() { _ = conn.CloseNow() }()
	require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
	_, message, err := conn.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hello!", string(message))
}

func TestProxy_tunnelsBytesAndHalfCloses(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaks.VerifyNone(t, before) })
	port := echo(t)
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	conn, reader, answer := dialConnect(t, socket, "echo.test:"+port)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	_, err := io.WriteString(conn, "hello")
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	all, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Equal(t, "hello", string(all))
	usage := proxy.Usage()["org_1"]
	require.EqualValues(t, 5, usage.SentBytes)
	require.EqualValues(t, 5, usage.ReceivedBytes)
	require.Eventually(t, func() bool { u := proxy.Usage()["org_1"]; return u.Active == 0 && u.Sockets == 0 }, patience, time.Millisecond)
}

func TestProxy_endsSilentTunnelsAndKeepsBusyOnes(t *testing.T) {
	port := echo(t)
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, IdleTimeout: 2 * time.Second})
	_, silent, _ := dialConnect(t, socket, "echo.test:"+port)
	busy, answers, _ := dialConnect(t, socket, "echo.test:"+port)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.ReadAll(silent)
	}()
	// Each byte there and back takes a fraction of the idle time, also on a busy machine.
	one := make([]byte, 1)
	for deadline := time.Now().Add(patience); proxy.Usage()["org_1"].Sockets != 1; {
		require.True(t, time.Now().Before(deadline), "the silent tunnel is still open")
		_, err := busy.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(answers, one)
		require.NoError(t, err)
	}
	<-ended
}

func TestProxy_endsTheRequestToTheOriginWithTheWorkers(t *testing.T) {
	canceled := make(chan struct{})
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(canceled)
	})
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	ctx, cancel := context.WithCancel(t.Context())
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.test:"+port+"/", nil)
	answer, err := through(t, socket).Do(request)
	require.NoError(t, err)
	cancel()
	answer.Body.Close()
	select {
	case <-canceled:
	case <-time.After(patience):
		t.Fatal("the origin still works for nobody")
	}
	require.Eventually(t, func() bool { return proxy.Usage()["org_1"].Active == 0 }, patience, time.Millisecond)
}

func TestProxy_tellsTheWorkerWhenAnOriginBreaksOff(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	answer, err := through(t, socket).Get("http://a.test:" + port + "/")
	require.NoError(t, err)
	defer answer.Body.Close()
	_, err = io.ReadAll(answer.Body)
	require.Error(t, err, "half an answer is not taken for a whole one")
}

func TestProxy_boundsWhatIsOpenAtATimeAndLetsOthersPass(t *testing.T) {
	port := echo(t)
	proxy, one := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, MaxPerRelease: 8, MaxPerOrganization: 12})
	two, other := listen(t, proxy, "org_1", "rel_2"), listen(t, proxy, "org_2", "rel_3")
	open := func(socket string, want int) {
		_, reader, answer := dialConnect(t, socket, "echo.test:"+port)
		require.Equal(t, want, answer.StatusCode)
		if want != http.StatusOK {
			require.Equal(t, "slipway; error=connection_limit_reached", answer.Header.Get("Proxy-Status"))
			_, err := io.ReadAll(reader)
			require.NoError(t, err)
		}
	}
	for range 8 {
		open(one, http.StatusOK)
	}
	for range 100 {
		open(one, http.StatusTooManyRequests)
	}
	for range 4 {
		open(two, http.StatusOK)
	}
	open(two, http.StatusTooManyRequests)
	open(other, http.StatusOK)
	usage := proxy.Usage()
	require.EqualValues(t, 12, usage["org_1"].Active)
	require.EqualValues(t, 101, usage["org_1"].Refused)
	require.EqualValues(t, 1, usage["org_2"].Active)
}

func TestProxy_sharesConnectionsWithinAnOrganizationOnly(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})
	proxy, one := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	same, other := listen(t, proxy, "org_1", "rel_2"), listen(t, proxy, "org_2", "rel_3")
	url := "http://a.test:" + port + "/"
	_, first := get(t, through(t, one), url)
	_, second := get(t, through(t, same), url)
	_, third := get(t, through(t, other), url)
	require.Equal(t, first, second)
	require.NotEqual(t, first, third)
}

func TestProxy_servesManyAtOnce(t *testing.T) {
	port, _ := origin(t, false, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback})
	client := through(t, socket)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			want := strings.Repeat(fmt.Sprint(i), 100_000)
			for range 10 {
				answer, err := client.Post("http://a.test:"+port+"/", "text/plain", strings.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if string(body) != want {
					t.Errorf("another's bytes: %d of %d", len(body), len(want))
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 160, proxy.Usage()["org_1"].Requests)
}

func TestProxy_endsTunnelsWithTheWorker(t *testing.T) {
	port := echo(t)
	proxy := New(Options{AllowPrivate: loopback, Resolve: toLoopback})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	stop := start(proxy, listener, "org_1", "rel_1")
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "CONNECT a.test:"+port+" HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 100))
	require.NoError(t, err)
	stop()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, err = io.ReadAll(conn)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the tunnel is open still")
	require.Eventually(t, func() bool { return proxy.Usage()["org_1"].Sockets == 0 }, patience, time.Millisecond)
}
