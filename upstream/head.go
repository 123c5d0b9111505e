package upstream

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// maxHead bounds an answer's head in bytes, maxTrailer its trailers.
const (
	maxHead    = 64 << 10
	maxTrailer = 16 << 10
)

// head is an answer's head, without the fields that frame it.
type head struct {
	status int
	// fields are the headers to pass on, in order; names are canonical.
	fields []Header
	// length is the Content-Length, -1 for none.
	length  int64
	chunked bool
	// reusable says that the connection may go on after the answer.
	reusable bool
	// upgrade is the protocol that the server switches to.
	upgrade string
	// trailer are the names of announced trailers.
	trailer []string
}

// headEnd finds the end of a head, its empty line included, looking from on;
// 0 means that it is not there yet. A line that ends without CR is refused:
// what one reader takes for a line another may not.
func headEnd(buf []byte, from int) (end int, err error) {
	for {
		at := bytes.IndexByte(buf[from:], '\n')
		if at < 0 {
			return 0, nil
		}
		at += from
		if at == 0 || buf[at-1] != '\r' {
			return 0, errors.New("a line ends with a bare line feed")
		}
		if at >= 3 && buf[at-3] == '\r' && buf[at-2] == '\n' {
			return at + 1, nil
		}
		from = at + 1
	}
}

// parse reads a head that ends with an empty line. It is strict (RFC 9112 §§2–6):
// what is ambiguous is refused, not repaired.
func (h *head) parse(text string) error {
	*h = head{fields: h.fields[:0], length: -1}
	line, text, _ := strings.Cut(text, "\r\n")
	http11, err := h.parseStatus(line)
	if err != nil {
		return err
	}
	var connection []string
	for {
		line, text, _ = strings.Cut(text, "\r\n")
		if line == "" {
			break
		}
		name, value, err := parseField(line)
		if err != nil {
			return err
		}
		switch name {
		case "Content-Length":
			if err := h.parseLength(value); err != nil {
				return err
			}
		case "Transfer-Encoding":
			if h.chunked || !http11 || !strings.EqualFold(value, "chunked") {
				return errors.New("a transfer coding other than one chunked")
			}
			h.chunked = true
		case "Connection":
			connection = append(connection, value)
		case "Upgrade":
			h.upgrade = value
		case "Trailer":
			h.trailer = append(h.trailer, value)
		default:
			if !hopByHop(name) && !private(name) {
				h.fields = append(h.fields, Header{name, value})
			}
		}
	}
	if text != "" {
		return errors.New("bytes after the head")
	}
	if h.chunked && h.length >= 0 {
		return errors.New("both a length and a transfer coding")
	}
	h.reusable = http11
	if connection != nil {
		h.reusable = http11 && !hasToken(connection, "close")
		for _, name := range named(connection) {
			h.drop(name)
		}
	}
	return nil
}

func (h *head) drop(name string) {
	kept := h.fields[:0]
	for _, field := range h.fields {
		if field.Name != name {
			kept = append(kept, field)
		}
	}
	h.fields = kept
}

func (h *head) parseStatus(line string) (http11 bool, err error) {
	const form = "HTTP/1.x 200"
	if len(line) < len(form) || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(line) > len(form) && line[len(form)] != ' ' {
		return false, errors.New("not the status line of HTTP/1.1")
	}
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return false, errors.New("a status that is no number")
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || h.status > 599 {
		return false, errors.New("a status that HTTP does not know")
	}
	if !validValue(line[len(form):]) {
		return false, errors.New("a control character in the status line")
	}
	return line[7] == '1', nil
}

func (h *head) parseLength(value string) error {
	if h.length >= 0 {
		return errors.New("two lengths")
	}
	// ParseUint takes neither signs nor spaces; base 10 takes no underscores.
	length, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return errors.New("a length that is no number")
	}
	h.length = int64(length)
	return nil
}

// parseField reads one line of a head or of trailers.
func parseField(line string) (name, value string, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", "", errors.New("a folded header line")
	}
	colon := strings.IndexByte(line, ':')
	if colon <= 0 {
		return "", "", errors.New("a header line without a name")
	}
	if name, err = canonical(line[:colon]); err != nil {
		return "", "", err
	}
	if value = strings.Trim(line[colon+1:], " \t"); !validValue(value) {
		return "", "", errors.New("a control character in a header")
	}
	return name, value, nil
}

// canonical checks a name and gives its canonical form, which most have already.
func canonical(name string) (string, error) {
	upper, clean := true, true
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !tokenBytes[c] {
			return "", errors.New("a header name with a byte that names do not have")
		}
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			clean = false
		}
		upper = c == '-'
	}
	if clean {
		return name, nil
	}
	return http.CanonicalHeaderKey(name), nil
}

// endsWithConnection says that nothing but the connection's end ends the body.
func (h *head) endsWithConnection(method string) bool {
	return !h.chunked && h.length < 0 && !h.bodiless(method)
}

// bodiless says that an answer has no body whatever its head says (RFC 9112 §6.3).
func (h *head) bodiless(method string) bool {
	return method == http.MethodHead || h.status < 200 || h.status == http.StatusNoContent || h.status == http.StatusNotModified
}
