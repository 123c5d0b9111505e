package activities

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

const (
	maxLogLine   = 4 << 10 // bytes; what is longer is cut
	maxLogLines  = 50_000
	logFlush     = 250 * time.Millisecond
	logChunk     = 200 // lines
	tailLines    = 40
	truncatedLog = "[the log is longer than 50,000 lines; the rest is left out]"
)

// buildLog turns the output of a build into numbered lines, masks secrets, and
// stores chunks while the build runs, for people to follow. Write may be called
// from several goroutines.
type buildLog struct {
	store *models.Store
	id    string

	mu      sync.Mutex
	partial []byte
	pending []string
	next    int64
	written int
	tail    []string
	failed  error

	stop chan struct{}
	done chan struct{}
}

// openLog goes on with a deployment's log where an earlier attempt stopped.
func (a *Activities) openLog(ctx context.Context, deploymentID string) (*buildLog, error) {
	next, err := a.Store.NextLogLine(ctx, deploymentID)
	if err != nil {
		return nil, err
	}
	l := &buildLog{store: a.Store, id: deploymentID, next: next, stop: make(chan struct{}), done: make(chan struct{})}
	// Lines written just before a cancellation are still wanted.
	go l.flushOften(context.WithoutCancel(ctx))
	return l, nil
}

// Write takes output as it comes. It never fails the build.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		at := bytes.IndexByte(l.partial, '\n')
		if at < 0 {
			if len(l.partial) > 4*maxLogLine {
				l.add(string(l.partial))
				l.partial = nil
			}
			return len(p), nil
		}
		l.add(string(l.partial[:at]))
		l.partial = l.partial[at+1:]
	}
}

// Line adds one line of our own.
func (l *buildLog) Line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(text)
}

func (l *buildLog) add(raw string) {
	line := cleanLine(raw)
	l.tail = append(l.tail, line)
	if len(l.tail) > tailLines {
		l.tail = l.tail[len(l.tail)-tailLines:]
	}
	if l.written++; l.written > maxLogLines {
		if l.written == maxLogLines+1 {
			l.pending = append(l.pending, truncatedLog)
		}
		return
	}
	l.pending = append(l.pending, line)
}

// Tail is the last lines, for a diagnosis.
func (l *buildLog) Tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.tail...)
}

// Forget empties the tail: what follows belongs to another command.
func (l *buildLog) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = nil
}

// Close stores what is left and returns the first failure to store.
func (l *buildLog) Close() error {
	l.mu.Lock()
	if len(l.partial) > 0 {
		l.add(string(l.partial))
		l.partial = nil
	}
	l.mu.Unlock()
	close(l.stop)
	<-l.done
	return l.failed
}

func (l *buildLog) flushOften(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(logFlush)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = l.flush(ctx) // kept pending and tried again
		case <-l.stop:
			l.failed = l.flush(ctx)
			return
		}
	}
}

// flush stores pending lines; those of a chunk that could not be stored stay.
func (l *buildLog) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		l.mu.Lock()
		n := min(len(l.pending), logChunk)
		chunk := models.LogChunk{DeploymentID: l.id, FirstLine: l.next, Lines: l.pending[:n:n]}
		l.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := l.store.AppendLog(ctx, chunk); err != nil {
			return err
		}
		l.mu.Lock()
		l.pending = l.pending[n:]
		l.next += int64(n)
		l.mu.Unlock()
	}
}

var (
	terminalCodes = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])")
	// secretShapes are credentials that are recognizable wherever they appear.
	secretShapes = regexp.MustCompile(`\b(?:slp_[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk_live_[A-Za-z0-9]{16,}|AKIA[A-Z0-9]{16})`)
	secretFields = regexp.MustCompile(`(?i)((?:authorization|proxy-authorization)\s*[:=]\s*(?:bearer|basic)\s+|_authToken\s*=\s*|(?:password|secret|token|api_?key)\s*[=:]\s*["']?)([^\s"',;]{6,})`)
	secretURLs   = regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)@`)
)

const masked = "•••"

// cleanLine makes a line of output safe to store and to show: what a terminal
// would have left of it, valid UTF-8 without control characters, secrets masked.
func cleanLine(raw string) string {
	raw = strings.TrimRight(raw, "\r")
	if at := strings.LastIndexByte(raw, '\r'); at >= 0 {
		raw = raw[at+1:] // a progress bar drew over it
	}
	raw = terminalCodes.ReplaceAllString(raw, "")
	raw = strings.ToValidUTF8(raw, "�")
	raw = strings.Map(func(r rune) rune {
		if r != '\t' && (r < 0x20 || r == 0x7f) {
			return -1
		}
		return r
	}, raw)
	raw = maskSecrets(raw)
	if len(raw) <= maxLogLine {
		return raw
	}
	cut := maxLogLine
	for cut > 0 && !utf8.RuneStart(raw[cut]) {
		cut--
	}
	return raw[:cut] + "…"
}

func maskSecrets(line string) string {
	line = secretShapes.ReplaceAllString(line, masked)
	line = secretURLs.ReplaceAllString(line, "${1}"+masked+"@")
	return secretFields.ReplaceAllString(line, "${1}"+masked)
}
