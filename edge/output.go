package edge

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// maxOutputLine is how much is kept of one line that workerd prints; a
	// console line may be of any length.
	maxOutputLine = 64 << 10
	// outputRate and outputBurst bound what is read of a worker's output, in bytes
	// (a second). One that says more is held up by its own pipe, so that a worker
	// that logs without end costs the host little.
	outputRate  = 1 << 20
	outputBurst = 4 << 20
	// maxErrorOutput is how much of standard error is kept.
	maxErrorOutput = 32 << 10
)

// stderrPrefix marks what a worker writes to process.stderr, which workerd prints
// on standard output.
const stderrPrefix = "process.stderr:"

// output reads what workerd prints on standard output: a JSON object a line, for
// each console call
//
//	{"timestamp":1795293636797,"level":"log","message":"hello"}
//
// and, with a source, for each message of its own, among them the uncaught
// exceptions. What process.stdout and process.stderr are given comes out likewise,
// or as it is.
type output struct {
	worker *worker
	lines  lineReader
	errors errorOutput

	// threw is when the last uncaught exception was seen, in Unix nanoseconds.
	threw atomic.Int64
	heap  atomic.Bool
}

func newOutput(w *worker) *output {
	o := &output{worker: w}
	o.lines = lineReader{worker: w, line: o.line}
	return o
}

// Write takes output; it never fails.
func (o *output) Write(p []byte) (int, error) { return o.lines.Write(p) }

// lineReader parts output into lines, as fast as the worker may speak. Used by
// one goroutine.
type lineReader struct {
	worker  *worker
	line    func([]byte)
	partial []byte
	cut     bool
	budget  float64
	read    time.Time
}

// Write takes output; it never fails.
func (l *lineReader) Write(p []byte) (int, error) {
	l.throttle(len(p))
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			l.keep(rest)
			break
		}
		if len(l.partial) == 0 && !l.cut {
			l.line(rest[:min(end, maxOutputLine)])
		} else {
			l.keep(rest[:end])
			l.line(l.partial)
			l.partial, l.cut = l.partial[:0], false
		}
		rest = rest[end+1:]
	}
	return len(p), nil
}

func (l *lineReader) keep(part []byte) {
	room := maxOutputLine - len(l.partial)
	if len(part) > room {
		part, l.cut = part[:room], true
	}
	l.partial = append(l.partial, part...)
}

// throttle sleeps when the worker says more than it may, unless it is ending.
func (l *lineReader) throttle(n int) {
	now := time.Now()
	if l.read.IsZero() {
		l.budget = outputBurst
	} else {
		l.budget = min(outputBurst, l.budget+now.Sub(l.read).Seconds()*outputRate)
	}
	l.read = now
	l.budget -= float64(n)
	if l.budget < 0 && l.worker.fate.Load() == nil {
		time.Sleep(time.Duration(-l.budget / outputRate * float64(time.Second)))
	}
}

var sourceField = []byte(`,"source":"`)

func (o *output) line(line []byte) {
	if len(line) == 0 {
		return
	}
	if bytes.Contains(line, sourceField) {
		o.ownLine(line)
		return
	}
	if !o.worker.journal.allow() {
		return
	}
	said := parseLine(line)
	if message, ok := strings.CutPrefix(said.Message, stderrPrefix); ok {
		said.Level, said.Message = "error", strings.TrimPrefix(message, " ")
	}
	o.worker.journal.add(LogLine{
		Time: said.time(o.worker.host.now()), Kind: models.LogConsole, Level: said.level(), Message: o.worker.code.maps.rewrite(said.Message),
	})
}

// printed is a line of structured output. The timestamp is a number or, in
// workerd's own lines, a string.
type printed struct {
	Timestamp json.RawMessage `json:"timestamp"`
	Level     string          `json:"level"`
	Message   string          `json:"message"`
}

func parseLine(line []byte) printed {
	var said printed
	if json.Unmarshal(line, &said) == nil && len(said.Timestamp) > 0 {
		return said
	}
	// A line that was too long, or one that process.stdout was given.
	head, message, found := bytes.Cut(line, []byte(`,"message":"`))
	if found && json.Unmarshal(append(bytes.Clone(head), '}'), &said) == nil && len(said.Timestamp) > 0 {
		for cut := 0; cut < 6 && cut < len(message); cut++ {
			if json.Unmarshal([]byte(`"`+string(message[:len(message)-cut])+`"`), &said.Message) == nil {
				return said
			}
		}
	}
	return printed{Message: string(line)}
}

// maxSkew is how far a line's time may be from the host's. A worker can print what
// looks like a line of workerd's, and a time that no JSON can hold.
const maxSkew = time.Minute

// time is when a line was said; zero when it does not say, or cannot be believed.
func (p printed) time(now time.Time) time.Time {
	var milliseconds int64
	if json.Unmarshal(p.Timestamp, &milliseconds) != nil {
		return time.Time{}
	}
	at := time.UnixMilli(milliseconds).UTC()
	if at.Before(now.Add(-maxSkew)) || at.After(now.Add(maxSkew)) {
		return time.Time{}
	}
	return at
}

func (p printed) level() string {
	switch p.Level {
	case "debug", "info", "warn", "error":
		return p.Level
	}
	return "log"
}

// What workerd says of an uncaught exception (src/workerd/io/worker.c++), and of
// a heap that is full (src/workerd/jsg/setup.c++).
const (
	exceptionPrefix = "uncaught exception; source = "
	exceptionStack  = "; stack = "
	heapFull        = "JavaScript heap out of memory"
)

// ownLine reads a message of workerd's own. All but exceptions are about
// connections, and say nothing that the request's line does not.
func (o *output) ownLine(line []byte) {
	said := parseLine(line)
	if strings.Contains(said.Message, heapFull) {
		o.heap.Store(true)
		return
	}
	rest, ok := strings.CutPrefix(said.Message, exceptionPrefix)
	if !ok {
		return
	}
	_, thrown, ok := strings.Cut(rest, exceptionStack)
	if !ok {
		return
	}
	o.threw.Store(o.worker.host.now().UnixNano())
	if !o.worker.journal.allow() {
		return
	}
	message, stack := splitStack(thrown)
	o.worker.journal.add(LogLine{
		Kind: models.LogException, Level: "error", Message: message, Stack: o.worker.code.maps.rewrite(stack),
	})
}

// splitStack parts an exception's text from its frames.
func splitStack(thrown string) (message, stack string) {
	lines := strings.Split(thrown, "\n")
	for i, line := range lines {
		if i > 0 && isFrame(line) {
			frames := lines[i:]
			for j := range frames {
				frames[j] = strings.TrimSpace(frames[j])
			}
			return strings.Join(lines[:i], "\n"), strings.TrimSpace(strings.Join(frames, "\n"))
		}
	}
	return strings.TrimSpace(thrown), ""
}

func (o *output) threwSince(t time.Time) bool { return o.threw.Load() >= t.UnixNano() }

func (o *output) outOfHeap() bool {
	return o.heap.Load() || strings.Contains(o.errors.text(), heapFull)
}

// startError finds in standard error what the worker said when it did not start:
// lines with a source, each of which has a message like
//
//	service worker: Uncaught TypeError: at start\n  at main.js:1:7
func (o *output) startError() (message, stack string) {
	var messages, stacks []string
	for line := range strings.Lines(o.errors.text()) {
		text, ok := strings.CutPrefix(parseLine([]byte(strings.TrimSpace(line))).Message, "service worker: ")
		if !ok {
			continue
		}
		said, frames := splitStack(strings.ReplaceAll(o.worker.code.maps.rewrite(text), bundlePrefix, ""))
		if said = strings.TrimPrefix(said, "Uncaught "); !slices.Contains(messages, said) {
			messages, stacks = append(messages, said), append(stacks, frames)
		}
	}
	message = strings.TrimSuffix(clamp(strings.Join(messages, " "), maxMessage), ".")
	return message, clamp(strings.TrimSpace(strings.Join(stacks, "\n")), maxMessage)
}

// errorOutput keeps the beginning and the end of standard error: the first
// message is the cause, the last words are V8's.
type errorOutput struct {
	mu         sync.Mutex
	head, tail []byte
}

// Write takes output; it never fails.
func (e *errorOutput) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rest := p
	if room := maxErrorOutput/2 - len(e.head); room > 0 {
		n := min(room, len(rest))
		e.head, rest = append(e.head, rest[:n]...), rest[n:]
	}
	e.tail = append(e.tail, rest...)
	if extra := len(e.tail) - maxErrorOutput/2; extra > 0 {
		e.tail = append(e.tail[:0], e.tail[extra:]...)
	}
	return len(p), nil
}

func (e *errorOutput) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.head) + string(e.tail)
}
