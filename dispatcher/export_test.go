package dispatcher

import (
	"bufio"
	"net/http"
	"strings"
)

// OnSlow calls count for each request that the guard leaves to net/http.
func (s *Server) OnSlow(count func()) {
	next := s.http.Handler
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count()
		next.ServeHTTP(w, r)
	})
}

// ParsedHead is what the guard made of a request.
type ParsedHead struct {
	Method, Target, Host string
	Length               int64
	Chunked, Simple      bool
	// Size is the head's and Body the body's, both in bytes of the wire.
	Size, Body int
}

// Parse reads one whole request the way a guard does. Not ok means that it is
// refused, or not complete.
func Parse(data []byte) (p ParsedHead, ok bool) {
	g := &guardConn{server: &Server{limits: Limits{HeaderBytes: 32 << 10}}, buf: data, end: len(data)}
	size, f := g.scanHead()
	if f != nil || size == 0 {
		return p, false
	}
	var h head
	if h.parse(string(data[:size])) != nil {
		return p, false
	}
	p = ParsedHead{Method: h.method, Target: h.target, Host: h.host, Length: h.length, Chunked: h.chunked, Simple: h.simple, Size: size}
	if !h.chunked && h.length <= 0 {
		return p, true
	}
	frame := bodyFrame{chunked: h.chunked, left: max(h.length, 0)}
	// In two parts, since the parts that come are anybody's guess.
	rest := data[size:]
	half := len(rest) / 2
	n, _, done, err := frame.advance(rest[:half])
	if err == nil && !done {
		var m int
		m, _, done, err = frame.advance(rest[half:])
		n += m
	}
	p.Body = n
	return p, done && err == nil
}

// ReadRequest is net/http's reading of the same bytes.
func ReadRequest(data []byte) (*http.Request, *bufio.Reader, error) {
	reader := bufio.NewReader(strings.NewReader(string(data)))
	r, err := http.ReadRequest(reader)
	return r, reader, err
}

// Handle has another handler answer what the guard leaves to net/http.
func (s *Server) Handle(h http.Handler) { s.http.Handler = h }

// HandleBodies is Handle with bodies bounded as for the dispatcher.
func (s *Server) HandleBodies(h http.Handler) { s.http.Handler = bounded(&s.limits, h) }
