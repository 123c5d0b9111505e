package dispatcher

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxHeaders bounds the header lines of one request.
const maxHeaders = 256

// head is a checked request head. Its strings are parts of the text it was
// read from.
type head struct {
	text           string
	method, target string
	// minor is 1 for HTTP/1.1 and 0 for HTTP/1.0.
	minor int
	host  string
	// length is the body's, -1 when no Content-Length says it. A chunked body
	// has no length.
	length  int64
	chunked bool
	// simple says that nothing in the head asks for more than an answer on a
	// connection that stays open, see header.
	simple bool
	// requestID, and the headers a file's answer depends on, which are simple
	// only when they come once.
	requestID, acceptEncoding, authorization, ifMatch, ifNoneMatch, ifRange, byteRange string
}

// fault says why a request is refused. The connection ends with the answer,
// because where the next request would begin is not certain.
type fault struct {
	status       int
	text, detail string
}

func malformed(detail string) *fault {
	return &fault{http.StatusBadRequest, "Malformed request", detail}
}

var (
	faultLine   = malformed("The request line is not \"method target HTTP/1.1\".")
	faultTarget = malformed("The request target has bytes that must be percent-encoded, or a broken escape.")
	faultHeader = malformed("A header line is not \"name: value\".")
	faultHost   = malformed("A request has exactly one Host header, which is a host name.")
	faultLength = malformed("A request has one Content-Length of plain digits, or one Transfer-Encoding, never both.")
	faultCoding = &fault{http.StatusNotImplemented, "Transfer coding not supported", "The only transfer coding is chunked."}
	faultMany   = &fault{http.StatusRequestHeaderFieldsTooLarge, "Too many headers", ""}
)

// parse reads a whole head: a request line, header lines and an empty line, each
// ended by CRLF, as scanHead has made sure. It accepts less than RFC 9112 lets a
// server accept: whatever two parsers could read in two ways is refused.
func (h *head) parse(text string) *fault {
	*h = head{text: text, length: -1, simple: true}
	end := strings.IndexByte(text, '\r')
	if text[end+1] != '\n' {
		return faultLine
	}
	if f := h.requestLine(text[:end]); f != nil {
		return f
	}
	hosts := 0
	for count := 0; ; count++ {
		text = text[end+2:]
		end = strings.IndexByte(text, '\r')
		if text[end+1] != '\n' {
			return faultHeader
		}
		if end == 0 {
			break
		}
		if count == maxHeaders {
			return faultMany
		}
		line := text[:end]
		colon := 0
		for colon < len(line) && isTokenByte[line[colon]] {
			colon++
		}
		if colon == 0 || colon == len(line) || line[colon] != ':' {
			return faultHeader
		}
		value := trimBlanks(line[colon+1:])
		for i := 0; i < len(value); i++ {
			if !isValueByte[value[i]] {
				return faultHeader
			}
		}
		if f := h.header(line[:colon], value, &hosts); f != nil {
			return f
		}
	}
	return h.check(hosts)
}

func (h *head) requestLine(line string) *fault {
	method, rest, ok := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !isToken(method) || target == "" {
		return faultLine
	}
	switch proto {
	case "HTTP/1.1":
		h.minor = 1
	case "HTTP/1.0":
		h.simple = false
	default:
		if len(proto) == len("HTTP/1.1") && strings.HasPrefix(proto, "HTTP/") && isDigit(proto[5]) && proto[6] == '.' && isDigit(proto[7]) {
			return &fault{http.StatusHTTPVersionNotSupported, "HTTP version not supported", "This connection speaks HTTP/1.1."}
		}
		return faultLine
	}
	h.method, h.target = method, target
	return checkTarget(target)
}

// checkTarget refuses what must not stand in a request target: control bytes,
// spaces and fragments, which a server behind us could read as the target's end,
// and broken escapes. Bytes above ASCII pass, since many clients send them.
func checkTarget(target string) *fault {
	path := true
	for i := 0; i < len(target); i++ {
		switch c := target[i]; {
		case c <= ' ' || c == 0x7f || c == '#':
			return faultTarget
		case c == '?':
			path = false
		case c == '%' && path:
			if i+2 >= len(target) || !isHex(target[i+1]) || !isHex(target[i+2]) {
				return faultTarget
			}
		}
	}
	return nil
}

// header takes note of the headers that frame the request, route it or decide
// about a file. The name's length tells most others apart at once.
func (h *head) header(name, value string, hosts *int) *fault {
	switch len(name) {
	case 4:
		if strings.EqualFold(name, "Host") {
			*hosts++
			h.host = value
		}
	case 5:
		if strings.EqualFold(name, "Range") {
			h.note(&h.byteRange, value)
		}
	case 6:
		if strings.EqualFold(name, "Expect") {
			h.simple = false
			if !strings.EqualFold(value, "100-continue") {
				return &fault{http.StatusExpectationFailed, "Expectation failed", "The only expectation is 100-continue."}
			}
		}
	case 7:
		if strings.EqualFold(name, "Upgrade") {
			h.simple = false
		}
	case 8:
		if strings.EqualFold(name, "If-Match") {
			h.note(&h.ifMatch, value)
		} else if strings.EqualFold(name, "If-Range") {
			h.note(&h.ifRange, value)
		}
	case 10:
		if strings.EqualFold(name, "Connection") && !strings.EqualFold(value, "keep-alive") {
			h.simple = false
		}
	case 12:
		if strings.EqualFold(name, "X-Request-Id") {
			h.note(&h.requestID, value)
		}
	case 13:
		if strings.EqualFold(name, "If-None-Match") {
			h.note(&h.ifNoneMatch, value)
		} else if strings.EqualFold(name, "Authorization") {
			h.note(&h.authorization, value)
		}
	case 14:
		if strings.EqualFold(name, "Content-Length") {
			length, err := strconv.ParseInt(value, 10, 64)
			if err != nil || h.length >= 0 || !isDigit(value[0]) {
				return faultLength
			}
			h.length, h.simple = length, false
		}
	case 15:
		if strings.EqualFold(name, "Accept-Encoding") {
			h.note(&h.acceptEncoding, value)
		}
	case 17:
		if strings.EqualFold(name, "Transfer-Encoding") {
			if !strings.EqualFold(value, "chunked") {
				return faultCoding
			}
			if h.chunked {
				return faultLength
			}
			h.chunked, h.simple = true, false
		}
	}
	return nil
}

// note keeps a value. An empty one, or a second, is not simple.
func (h *head) note(field *string, value string) {
	if value == "" || *field != "" {
		h.simple = false
	}
	*field = value
}

// check looks at what the lines say together (RFC 9112 §3.2, §6.1).
func (h *head) check(hosts int) *fault {
	if h.chunked && (h.length >= 0 || h.minor == 0) {
		return faultLength
	}
	if hosts > 1 || (hosts == 0 && h.minor > 0) || !hostBytes(h.host) {
		return faultHost
	}
	switch {
	case h.target[0] == '/':
		return nil
	case h.target == "*" && h.method == http.MethodOptions, h.method == http.MethodConnect:
		h.simple = false
		return nil
	}
	// Absolute form. A client sends the same host twice, so one that does not is
	// after a proxy that believes the other one.
	h.simple = false
	u, err := url.ParseRequestURI(h.target)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Host == "" {
		return faultTarget
	}
	if hosts == 1 && !strings.EqualFold(u.Host, h.host) {
		return faultHost
	}
	return nil
}

// hostBytes accepts the bytes of host names, addresses and ports; whether they
// make one is decided where the host is looked up.
func hostBytes(host string) bool {
	for i := 0; i < len(host); i++ {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '-' || c > ':' || c == '/') && c != '[' && c != ']' && c != '_' {
			return false
		}
	}
	return true
}

func trimBlanks(text string) string {
	for text != "" && (text[0] == ' ' || text[0] == '\t') {
		text = text[1:]
	}
	for text != "" && (text[len(text)-1] == ' ' || text[len(text)-1] == '\t') {
		text = text[:len(text)-1]
	}
	return text
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return hexDigit(c) >= 0 }

func hexDigit(c byte) int64 {
	switch {
	case isDigit(c):
		return int64(c - '0')
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10
	}
	return -1
}

func isToken(text string) bool {
	for i := 0; i < len(text); i++ {
		if !isTokenByte[text[i]] {
			return false
		}
	}
	return text != ""
}

// isTokenByte has the bytes of a token (RFC 9110 §5.6.2), isValueByte those of a
// header value (§5.5): no control byte but the tab.
var isTokenByte, isValueByte = func() (token, value [256]bool) {
	for c := range 256 {
		value[c] = (c >= ' ' && c != 0x7f) || c == '\t'
		token[c] = c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c))
	}
	return token, value
}()
