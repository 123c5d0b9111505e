package upstream

import (
	"errors"
	"io"
	"sync"
)

// bufferBytes is what is read from the server at a time.
const bufferBytes = 32 << 10

// maxKeptFields bounds the fields that memory is kept for.
const maxKeptFields = 256

// scratch is the memory of one request under way.
type scratch struct {
	reader
	out  []byte
	head head
}

var scratches = sync.Pool{New: func() any {
	return &scratch{reader: reader{buf: make([]byte, bufferBytes)}, out: make([]byte, 0, 4<<10)}
}}

// release gives the memory back without what it holds of the request.
func (s *scratch) release() {
	if cap(s.head.fields) > maxKeptFields {
		s.head.fields = nil // or one strange answer made all that follow dearer
	}
	clear(s.head.fields[:cap(s.head.fields)])
	s.head = head{fields: s.head.fields[:0]}
	s.reader.conn, s.begin, s.end = nil, 0, 0
	s.out = s.out[:0]
	scratches.Put(s)
}

// complete says that the whole answer has been read.
func (s *scratch) complete(method string) bool {
	return s.head.bodiless(method) && s.head.status >= 200 || s.head.length >= 0 && s.head.length <= int64(s.end-s.begin)
}

// reader reads a connection through a buffer: buf[begin:end] is not consumed yet.
type reader struct {
	conn       io.Reader
	buf        []byte
	begin, end int
}

func (r *reader) unread() []byte { return r.buf[r.begin:r.end] }

// fill reads once, after what is unread. A full buffer grows, up to maxHead.
func (r *reader) fill() error {
	switch {
	case r.begin == r.end:
		r.begin, r.end = 0, 0
	case r.end == len(r.buf):
		if r.begin > 0 {
			r.end = copy(r.buf, r.unread())
			r.begin = 0
			break
		}
		if len(r.buf) >= maxHead {
			return errHeadSize
		}
		grown := make([]byte, min(2*len(r.buf), maxHead))
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.conn.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errClosed
	}
	return err
}
