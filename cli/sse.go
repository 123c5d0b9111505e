package cli

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxEventLine bounds one line of an event stream, in bytes.
const maxEventLine = 1 << 20

// errEventTooLong ends the reading of a stream whose server sends no line ends.
var errEventTooLong = errors.New("the event stream has a line of more than 1 MiB")

// event is one event of a stream.
type event struct {
	// Name is "message" unless the server names it.
	Name string
	Data string
	// ID is the last id seen in the stream, which need not be this event's own.
	ID string
}

// eventReader reads a stream of server-sent events as the HTML standard says
// (§9.2.6 of https://html.spec.whatwg.org/multipage/server-sent-events.html).
type eventReader struct {
	in *bufio.Reader
	// LastID is what goes into Last-Event-ID when the connection breaks.
	LastID string
	// Retry is the reconnection pause the server asked for, 0 when it did not.
	Retry   time.Duration
	started bool
	skipLF  bool
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{in: bufio.NewReaderSize(r, 32<<10)}
}

// Next gives the next event that has data. An event the stream breaks off in is
// dropped, as the standard wants it: the error is then that of the stream.
func (r *eventReader) Next() (event, error) {
	var name string
	var data strings.Builder
	seen := false
	id := r.LastID
	for {
		line, err := r.line()
		if err != nil {
			return event{}, err
		}
		if line == "" {
			r.LastID = id
			if !seen {
				name = ""
				continue
			}
			if name == "" {
				name = "message"
			}
			return event{Name: name, Data: data.String(), ID: id}, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			if seen {
				data.WriteByte('\n')
			}
			if data.Len()+len(value) > maxEventLine {
				return event{}, errEventTooLong
			}
			seen = true
			data.WriteString(value)
		case "id":
			if !strings.ContainsRune(value, 0) {
				id = value
			}
		case "retry":
			if millis, err := strconv.ParseUint(value, 10, 31); err == nil && isDigits(value) {
				r.Retry = time.Duration(millis) * time.Millisecond
			}
		}
	}
}

// line reads up to a CR, an LF or a CRLF, without it. The LF of a CRLF is
// skipped only when it comes, so that an event is not held back for it.
func (r *eventReader) line() (string, error) {
	if !r.started {
		r.started = true
		if mark, err := r.in.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
			_, _ = r.in.Discard(3)
		}
	}
	var line []byte
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return "", err
		}
		if r.skipLF {
			r.skipLF = false
			if c == '\n' {
				continue
			}
		}
		switch c {
		case '\r':
			r.skipLF = true
			return string(line), nil
		case '\n':
			return string(line), nil
		}
		if len(line) == maxEventLine {
			return "", errEventTooLong
		}
		line = append(line, c)
	}
}

func isDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
