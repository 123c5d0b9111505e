package dispatcher

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// AccessLog says which requests are logged, one line each.
type AccessLog struct {
	// Requests is "all", "errors" (answers of 500 and more) or "off"; "" is off.
	Requests string
	// JSON writes lines of JSON instead of key=value pairs.
	JSON bool
	// Output takes whole lines. It is needed unless Requests is off.
	Output io.Writer
}

const (
	// accessBuffer and accessDelay bound how much is written late, and how late.
	accessBuffer = 32 << 10
	accessDelay  = time.Second
)

// accessLog writes lines by hand into a buffer: a logger's line costs as much
// as the answer it tells of.
type accessLog struct {
	AccessLog
	// from is the first status that is logged.
	from int

	mu    sync.Mutex
	lines []byte
	timer *time.Timer
}

func newAccessLog(settings AccessLog) *accessLog {
	l := &accessLog{AccessLog: settings, from: 1000}
	switch settings.Requests {
	case "all":
		l.from = 0
	case "errors":
		l.from = http.StatusInternalServerError
	}
	l.timer = time.AfterFunc(time.Hour, l.flush)
	l.timer.Stop()
	return l
}

// access is one request and its answer. The query is left out: it may hold what
// a tenant's visitors would not want kept.
type access struct {
	requestID, method, host, path, worker, release, client, trace string
	status                                                        int
	began                                                         time.Time
}

func (l *accessLog) wants(status int) bool { return status >= l.from }

func (l *accessLog) write(a *access) {
	took := time.Since(a.began)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		l.timer.Reset(accessDelay)
	}
	if l.JSON {
		l.lines = a.appendJSON(l.lines, took)
	} else {
		l.lines = a.appendText(l.lines, took)
	}
	if len(l.lines) >= accessBuffer {
		l.flushLocked()
	}
}

// flush writes what is waiting.
func (l *accessLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushLocked()
}

func (l *accessLog) flushLocked() {
	l.timer.Stop()
	if len(l.lines) > 0 {
		// A log that cannot be written must not stop the answers.
		_, _ = l.Output.Write(l.lines)
		l.lines = l.lines[:0]
	}
}

// appendJSON has the field names of the other log lines.
func (a *access) appendJSON(b []byte, took time.Duration) []byte {
	b = append(b, `{"level":"info","msg":"request","time":"`...)
	b = a.began.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","status":`...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, `,"ms":`...)
	b = strconv.AppendFloat(b, float64(took.Microseconds())/1000, 'f', -1, 64)
	for _, field := range a.fields() {
		if field.value != "" {
			b = append(b, `,"`...)
			b = append(b, field.name...)
			b = append(b, `":`...)
			b = appendQuoted(b, field.value)
		}
	}
	return append(b, "}\n"...)
}

func (a *access) appendText(b []byte, took time.Duration) []byte {
	b = append(b, `time="`...)
	b = a.began.AppendFormat(b, time.RFC3339)
	b = append(b, `" level=info msg=request status=`...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, " ms="...)
	b = strconv.AppendFloat(b, float64(took.Microseconds())/1000, 'f', -1, 64)
	for _, field := range a.fields() {
		if field.value != "" {
			b = append(b, ' ')
			b = append(b, field.name...)
			b = append(b, '=')
			b = appendQuoted(b, field.value)
		}
	}
	return append(b, '\n')
}

type accessField struct{ name, value string }

func (a *access) fields() [8]accessField {
	return [...]accessField{
		{"method", a.method}, {"host", a.host}, {"path", a.path}, {"worker", a.worker},
		{"release", a.release}, {"client", a.client}, {"requestId", a.requestID}, {"trace_id", a.trace},
	}
}

// appendQuoted writes a JSON string. What strangers send is escaped so far that
// a line stays a line and a terminal shows it.
func appendQuoted(b []byte, text string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError || (r >= 0x80 && r < 0xa0) {
				b = append(b, `\ufffd`...)
			} else {
				b = append(b, text[i:i+size]...)
			}
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// ended counts and logs a request that net/http brought.
func (d *Dispatcher) ended(x *exchange, began time.Time) {
	d.measures.answered(x.class, x.status, time.Since(began))
	d.logAccess(x, began)
}

// logAccess writes the line of a request that net/http brought.
func (d *Dispatcher) logAccess(x *exchange, began time.Time) {
	if !d.access.wants(x.status) {
		return
	}
	path, _ := rawTarget(x.r)
	d.access.write(&access{
		requestID: x.requestID, method: x.r.Method, host: x.r.Host, path: path, status: x.status,
		worker: x.worker, release: x.releaseID, client: x.r.RemoteAddr, trace: x.traceID, began: began,
	})
}

// statusWriter notes the status of an answer for the access log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status and sends it.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
