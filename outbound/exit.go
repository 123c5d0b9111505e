package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// exit answers one release's worker.
type exit struct {
	proxy        *Proxy
	organization *organization
	release      string
	pace         pace

	logged sync.Mutex
	// next is when the next refusal may be logged, silent how many were not: a
	// worker decides how many there are.
	next   time.Time
	silent int
}

func (e *exit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, ok := destination(r)
	if !ok {
		e.refuse(w, r, fail(http.StatusBadRequest, "http_request_error",
			"only requests with an absolute http or https URL and CONNECT pass here"))
		return
	}
	if port == 25 {
		// Mail that leaves from here would have the whole platform's address listed.
		e.refuse(w, r, fail(http.StatusForbidden, "http_request_denied",
			"port 25 is closed to workers; use your mail provider's submission port (587, 465) or its HTTP API"))
		return
	}
	if limit := e.organization.enter(e.release, e.proxy.options); limit != "" {
		w.Header().Set("Connection", "close")
		e.refuse(w, r, fail(http.StatusTooManyRequests, "connection_limit_reached",
			limit+" has as many requests and sockets open as are allowed at a time"))
		return
	}
	defer e.organization.leave(e.release)
	e.organization.requests.Add(1)
	r = r.WithContext(e.pace.with(r.Context()))
	if r.Method == http.MethodConnect {
		e.tunnel(w, r, host, port)
		return
	}
	// An answer may begin before its request has ended: net/http would otherwise
	// wait for the rest of the request first.
	_ = http.NewResponseController(w).EnableFullDuplex()
	proxy := httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      e.organization.transport,
		FlushInterval:  -1,
		BufferPool:     &e.proxy.buffers,
		ModifyResponse: e.modify,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			e.refuse(w, r, explain(err, r.URL.Hostname()))
		},
		ErrorLog: e.proxy.discard,
	}
	proxy.ServeHTTP(final{w}, r)
}

// destination is where a request wants to go.
func destination(r *http.Request) (host string, port uint16, ok bool) {
	if r.Method == http.MethodConnect {
		host, port, err := splitHostPort(r.RequestURI)
		return host, port, err == nil
	}
	text := r.URL.Port()
	switch {
	case r.URL.Scheme != "http" && r.URL.Scheme != "https", r.URL.Hostname() == "":
		return "", 0, false
	case text == "" && r.URL.Scheme == "http":
		return r.URL.Hostname(), 80, true
	case text == "":
		return r.URL.Hostname(), 443, true
	}
	number, err := strconv.ParseUint(text, 10, 16)
	return r.URL.Hostname(), uint16(number), err == nil && number > 0
}

// rewrite makes the request to the origin. The URL alone says who is meant, to
// the certificate check and to the origin.
func rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	out.Host = in.URL.Host
	out.URL.User = nil
	out.URL.RawQuery = in.URL.RawQuery
	out.URL.Opaque = rawPath(in)
	// Forwarding headers are the worker's own here, not a proxy's.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := in.Header[name]; values != nil {
			out.Header[name] = values
		}
	}
	dropOurs(out.Header)
}

// rawPath is the path as the worker spelled it when net/url would spell it
// otherwise; "" when it would not. A path that begins with "//" cannot be said
// that way.
func rawPath(r *http.Request) string {
	_, rest, _ := strings.Cut(r.RequestURI, "://")
	at := strings.IndexAny(rest, "/?")
	if at < 0 || rest[at] == '?' {
		return ""
	}
	path, _, _ := strings.Cut(rest[at:], "?")
	if path == r.URL.EscapedPath() || strings.HasPrefix(path, "//") || strings.Contains(path, "#") {
		return ""
	}
	return path
}

// modify keeps what is said between ourselves from being said by strangers.
func (e *exit) modify(answer *http.Response) error {
	dropOurs(answer.Header)
	return nil
}

// dropOurs removes the headers that carry meaning within the platform.
func dropOurs(header http.Header) {
	for name := range header {
		if strings.HasPrefix(name, "X-Slipway-") {
			delete(header, name)
		}
	}
}

// tunnel carries connect(): bytes, both ways, until both sides are done.
func (e *exit) tunnel(w http.ResponseWriter, r *http.Request, host string, port uint16) {
	upstream, err := e.proxy.dial(r.Context(), e.organization, host, port)
	if err != nil {
		e.refuse(w, r, explain(err, host))
		return
	}
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		e.proxy.options.Log.WithError(err).Error("Outbound connection could not be taken over")
		return
	}
	defer client.Close()
	stop := context.AfterFunc(r.Context(), func() {
		client.Close()
		upstream.Close()
	})
	defer stop()
	_ = client.SetDeadline(time.Time{})
	if _, err := client.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
		return
	}
	// What the client sent ahead of the answer is in the buffer.
	if ahead := buffered.Reader.Buffered(); ahead > 0 {
		early, _ := buffered.Reader.Peek(ahead)
		if _, err := upstream.Write(early); err != nil {
			return
		}
	}
	var both sync.WaitGroup
	both.Go(func() { e.carry(upstream, client) })
	both.Go(func() { e.carry(client, upstream) })
	both.Wait()
}

// carry copies one way and passes a half-close on; after an error neither way
// can go on. Silence ends it: the connection to the outside sees to that.
func (e *exit) carry(to, from net.Conn) {
	buffer := e.proxy.buffers.Get()
	defer e.proxy.buffers.Put(buffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && closeWrite(to) == nil {
				return
			}
			break
		}
	}
	to.Close()
	from.Close()
}

// refuse answers a request that does not leave.
func (e *exit) refuse(w http.ResponseWriter, r *http.Request, f failure) {
	if r.Context().Err() != nil {
		// Nobody is listening any more.
		panic(http.ErrAbortHandler)
	}
	e.organization.refused.Add(1)
	target := clip(r.Host)
	if r.Method != http.MethodConnect && r.URL.Host != "" {
		target = clip(r.URL.Host)
	}
	e.log(target, f)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Proxy-Status", "slipway; error="+f.kind)
	w.WriteHeader(f.status)
	_, _ = w.Write([]byte("Slipway did not connect this worker to " + strconv.QuoteToASCII(target) + ": " + f.text + ".\n"))
}

// log writes a refusal down, at most one a second.
func (e *exit) log(target string, f failure) {
	now := time.Now()
	e.logged.Lock()
	if now.Before(e.next) {
		e.silent++
		e.logged.Unlock()
		return
	}
	silent := e.silent
	e.next, e.silent = now.Add(time.Second), 0
	e.logged.Unlock()
	log := e.proxy.options.Log
	if f.detail != nil {
		log = log.WithError(f.detail)
	}
	log.WithFields(logrus.Fields{
		"organization": e.organization.id, "release": e.release, "target": target, "status": f.status, "notLogged": silent,
	}).Info("Worker's request out refused or failed: " + f.text)
}

func clip(text string) string {
	if len(text) > 200 {
		return text[:200]
	}
	return text
}
