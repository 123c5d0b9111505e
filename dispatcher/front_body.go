package dispatcher

import (
	"errors"
	"strings"
)

const (
	// maxChunkDigits bounds a chunk's size to what an int64 holds.
	maxChunkDigits = 15
	// maxChunkExtension bounds one chunk's extensions and maxExtensions those of
	// a whole body, in bytes: they mean nothing to anybody and cost us time.
	maxChunkExtension = 256
	maxExtensions     = 16 << 10
	// maxTrailers bounds the trailer section, in bytes.
	maxTrailers = 8 << 10
)

// errChunk ends a body whose chunks are not well formed (RFC 9112 §7.1). Where
// such a body ends is a matter of taste, so nothing after it is read.
var errChunk = errors.New("the request's chunked body is malformed")

// bodyFrame follows the bytes of one request body to its end.
type bodyFrame struct {
	chunked bool
	// left is what remains of the body, or of the present chunk.
	left  int64
	state chunkState
	// digits, extension and extensions count towards their limits; line holds the
	// trailer line that has begun, trailers counts all of them.
	digits, extension, extensions, trailers int
	line                                    []byte
}

type chunkState int

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeEnd // LF after the size
	chunkData
	chunkDataEnd  // CR after the data
	chunkDataEnd2 // LF after the data
	chunkTrailer
	chunkTrailerEnd // LF after a trailer or the last empty line
)

// advance takes bytes that belong to the body from the front of data. done says
// that the body ended with them. data counts the bytes of content among them.
func (f *bodyFrame) advance(data []byte) (n int, content int64, done bool, err error) {
	if !f.chunked {
		content = min(f.left, int64(len(data)))
		f.left -= content
		return int(content), content, f.left == 0, nil
	}
	for n < len(data) {
		if f.state == chunkData {
			part := min(f.left, int64(len(data)-n))
			f.left -= part
			content += part
			n += int(part)
			if f.left == 0 {
				f.state = chunkDataEnd
			}
			continue
		}
		done, err = f.step(data[n])
		if err != nil {
			return n, content, false, err
		}
		n++
		if done {
			return n, content, true, nil
		}
	}
	return n, content, false, nil
}

// step takes one byte of the framing.
func (f *bodyFrame) step(c byte) (done bool, err error) {
	switch f.state {
	case chunkSize:
		digit := hexDigit(c)
		switch {
		case digit >= 0 && f.digits < maxChunkDigits:
			f.digits++
			f.left = f.left<<4 | digit
		case digit >= 0 || f.digits == 0:
			return false, errChunk
		case c == '\r':
			f.state = chunkSizeEnd
		case c == ';':
			f.state = chunkExtension
		default:
			return false, errChunk
		}
	case chunkExtension:
		f.extension++
		f.extensions++
		switch {
		case c == '\r':
			f.state = chunkSizeEnd
		case !isValueByte[c] || f.extension > maxChunkExtension || f.extensions > maxExtensions:
			return false, errChunk
		}
	case chunkSizeEnd:
		if c != '\n' {
			return false, errChunk
		}
		f.digits, f.extension = 0, 0
		if f.state = chunkData; f.left == 0 {
			f.state = chunkTrailer
		}
	case chunkDataEnd:
		if c != '\r' {
			return false, errChunk
		}
		f.state = chunkDataEnd2
	case chunkDataEnd2:
		if c != '\n' {
			return false, errChunk
		}
		f.state = chunkSize
	case chunkTrailer:
		if f.trailers++; f.trailers > maxTrailers {
			return false, errChunk
		}
		if c == '\r' {
			f.state = chunkTrailerEnd
		} else {
			f.line = append(f.line, c)
		}
	case chunkTrailerEnd:
		if c != '\n' {
			return false, errChunk
		}
		if len(f.line) == 0 {
			return true, nil
		}
		if !validTrailer(string(f.line)) {
			return false, errChunk
		}
		f.line, f.state = f.line[:0], chunkTrailer
	}
	return false, nil
}

// validTrailer refuses the fields that frame or route a message: they come too
// late to be believed (RFC 9110 §6.5.1).
func validTrailer(line string) bool {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return false
	}
	for i := 0; i < len(value); i++ {
		if !isValueByte[value[i]] {
			return false
		}
	}
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "host", "connection", "trailer", "upgrade", "te":
		return false
	}
	return true
}
