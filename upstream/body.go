package upstream

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxChunkLine bounds the line before a chunk; extensions are ignored.
	maxChunkLine = 4 << 10
	// spliceBytes is what the kernel copies at a time without our seeing it, and
	// the least for which that pays.
	spliceBytes = 256 << 10
)

// answer writes the final answer.
func (x *exchange) answer(c *conn, s *scratch) error {
	h, header := &s.head, x.w.Header()
	bodiless := h.bodiless(x.r.Method)
	h.apply(header)
	if h.length >= 0 && h.status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.FormatInt(h.length, 10)}
	}
	var announced []string
	if h.chunked && !bodiless && len(h.trailer) > 0 {
		announced = x.announce(h.trailer, header)
	}
	if x.upload != nil && !x.upload.drained.Load() && x.r.ProtoMajor == 1 {
		// What the client has yet to send is not a request.
		header["Connection"] = []string{"close"}
		_ = x.upload.control.EnableFullDuplex()
	}
	if x.f.Answer != nil {
		x.f.Answer(h.status, header)
	}
	if _, typed := header["Content-Type"]; !typed {
		header["Content-Type"] = nil // or net/http would guess one
	}
	x.began = true
	x.w.WriteHeader(h.status)
	if bodiless {
		return nil
	}
	defer x.down.clear()
	err := x.copyBody(c, s, announced)
	if err == nil && x.down.written > unpaced {
		// While the deadline is set; net/http's own flush would wait for ever.
		err = x.down.flush()
	}
	return err
}

func (x *exchange) copyBody(c *conn, s *scratch, announced []string) error {
	switch {
	case s.head.chunked:
		return x.copyChunked(s, announced)
	case s.head.length >= 0:
		return x.copyLength(c, s, s.head.length)
	default:
		return x.copyToEnd(s)
	}
}

// announce tells the client which trailers may come.
func (x *exchange) announce(lists []string, header http.Header) (names []string) {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name, err := canonical(strings.Trim(name, " \t")); err == nil && name != "" && forwardableTrailer(name) {
				names = append(names, name)
			}
		}
	}
	if len(names) > 0 {
		header["Trailer"] = names
	}
	return names
}

// copyLength copies a body of known length. It is flushed when the client's
// buffer is full, not before.
func (x *exchange) copyLength(c *conn, s *scratch, left int64) error {
	for left > 0 {
		if s.begin == s.end {
			if left > spliceBytes {
				if w, ok := x.w.(io.ReaderFrom); ok {
					return x.splice(w, c, left)
				}
			}
			if err := s.fill(); err != nil {
				return &Error{Stage: StageBody, Err: err}
			}
		}
		part := s.unread()[:min(int64(s.end-s.begin), left)]
		if err := x.down.write(part); err != nil {
			return err
		}
		s.begin += len(part)
		left -= int64(len(part))
	}
	return nil
}

// splice lets the kernel copy from socket to socket, in pieces that a client has
// the grace to take.
func (x *exchange) splice(w io.ReaderFrom, c *conn, left int64) error {
	for left > 0 {
		part := io.LimitedReader{R: c.Conn, N: min(left, spliceBytes)}
		n, err := x.down.readFrom(w, &part)
		left -= n
		if err != nil {
			return err
		}
		if n == 0 {
			return &Error{Stage: StageBody, Err: errClosed}
		}
	}
	return nil
}

// copyToEnd copies a body that ends with the connection.
func (x *exchange) copyToEnd(s *scratch) error {
	for {
		if part := s.unread(); len(part) > 0 {
			if err := x.down.write(part); err != nil {
				return err
			}
			s.begin = s.end
		}
		err := x.more(s)
		if errors.Is(err, errClosed) {
			return x.down.flush()
		}
		if err != nil {
			return err
		}
	}
}

// more waits for bytes of a stream, after the client has got what there is.
func (x *exchange) more(s *scratch) error {
	x.down.pending = x.down.pending || x.down.written == 0 // the head, at least
	if err := x.down.flush(); err != nil {
		return err
	}
	if err := s.fill(); err != nil {
		return &Error{Stage: StageBody, Err: err}
	}
	return nil
}

// copyChunked undoes the transfer coding (RFC 9112 §7.1) and writes what it held.
func (x *exchange) copyChunked(s *scratch, announced []string) error {
	for {
		line, err := x.line(s, maxChunkLine)
		if err != nil {
			return err
		}
		size, ok := chunkSize(line)
		if !ok {
			return &Error{Stage: StageMalformed, Err: errors.New("a chunk without a size")}
		}
		if size == 0 {
			return x.trailers(s, announced)
		}
		for size > 0 {
			if s.begin == s.end {
				if err := x.more(s); err != nil {
					return err
				}
			}
			part := s.unread()[:min(int64(s.end-s.begin), size)]
			if err := x.down.write(part); err != nil {
				return err
			}
			s.begin += len(part)
			size -= int64(len(part))
		}
		if line, err = x.line(s, 0); err != nil {
			return err
		}
		if line != "" {
			return &Error{Stage: StageMalformed, Err: errors.New("a chunk longer than its size")}
		}
	}
}

// chunkSize reads the line before a chunk.
func chunkSize(line string) (size int64, ok bool) {
	digits := 0
	for digits < len(line) && unhex(line[digits]) >= 0 {
		if digits == 15 {
			return 0, false
		}
		size = size<<4 | int64(unhex(line[digits]))
		digits++
	}
	rest := strings.TrimLeft(line[digits:], " \t")
	return size, digits > 0 && (rest == "" || rest[0] == ';') && validValue(rest)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// line reads a line of at most limit bytes without its end.
func (x *exchange) line(s *scratch, limit int) (string, error) {
	for scanned := 0; ; {
		unread := s.unread()
		for i := scanned; i < len(unread); i++ {
			if i > limit+1 {
				return "", &Error{Stage: StageMalformed, Err: errors.New("a line in a chunked body is too long")}
			}
			if unread[i] != '\n' {
				continue
			}
			if i == 0 || unread[i-1] != '\r' {
				return "", &Error{Stage: StageMalformed, Err: errors.New("a line ends with a bare line feed")}
			}
			s.begin += i + 1
			return string(unread[:i-1]), nil
		}
		scanned = len(unread)
		if err := x.more(s); err != nil {
			return "", err
		}
	}
}

// trailers reads what follows the last chunk and passes it on.
func (x *exchange) trailers(s *scratch, announced []string) error {
	header := x.w.Header()
	for total := 0; ; {
		line, err := x.line(s, maxTrailer-total)
		if err != nil {
			return err
		}
		if line == "" {
			return nil
		}
		total += len(line) + 2
		name, value, err := parseField(line)
		if err != nil {
			return &Error{Stage: StageMalformed, Err: err}
		}
		if !forwardableTrailer(name) {
			continue
		}
		key := name
		if !slices.Contains(announced, name) {
			// net/http gives an answer that is all there a length, unless it is
			// on its way already; and then it has no trailers.
			x.down.pending = true
			if err := x.down.flush(); err != nil {
				return err
			}
			key = http.TrailerPrefix + name
		}
		header[key] = append(header[key], value)
	}
}
