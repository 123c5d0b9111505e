package edge

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

const (
	// maxMessage bounds a line's message and its stack, in bytes.
	maxMessage = 16 << 10
	// lineRate and lineBurst bound a release's lines, (a second). Lines that close
	// requests have as many of their own.
	lineRate  = 200
	lineBurst = 1000
	// journalKept is how long a release's journal is kept after its last line: what
	// it says would otherwise begin with another burst.
	journalKept = time.Minute
)

// journal is a release's log on its way to the sink. Nothing is kept here: there
// may be many releases.
type journal struct {
	host    *Host
	release Release
	// mute drops every line.
	mute    bool
	secrets atomic.Pointer[strings.Replacer]

	mu       sync.Mutex
	last     time.Time
	said     bucket
	requests bucket
}

// bucket lets lineRate lines a second pass.
type bucket struct {
	tokens  float64
	filled  time.Time
	dropped int
}

func (b *bucket) take(now time.Time) bool {
	if b.filled.IsZero() {
		b.tokens = lineBurst
	} else {
		b.tokens = min(lineBurst, b.tokens+now.Sub(b.filled).Seconds()*lineRate)
	}
	b.filled = now
	if b.tokens < 1 {
		b.dropped++
		return false
	}
	b.tokens--
	return true
}

// journal gives the journal of a release, made when there is none.
func (h *Host) journal(r Release) *journal {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.journals[r.ID]
	if j == nil {
		j = &journal{host: h, release: r, last: h.now()}
		h.journals[r.ID] = j
	}
	return j
}

// minSecret is the shortest value that is masked, in bytes: shorter ones would
// make holes everywhere.
const minSecret = 6

// hide masks the values of secrets in what is added from now on, also as they
// look within an object that is printed.
func (j *journal) hide(environment models.Environment) {
	var pairs []string
	for name, variable := range environment {
		if !variable.Secret || len(variable.Value) < minSecret {
			continue
		}
		escaped := strconv.Quote(variable.Value)
		for _, shape := range []string{variable.Value, escaped[1 : len(escaped)-1]} {
			pairs = append(pairs, shape, "["+name+"]")
		}
	}
	if len(pairs) > 0 {
		j.secrets.Store(strings.NewReplacer(pairs...))
	}
}

func (j *journal) mask(text string) string {
	if secrets := j.secrets.Load(); secrets != nil {
		return secrets.Replace(text)
	}
	return text
}

// allow asks whether one more line may be added; what it refuses is counted.
func (j *journal) allow() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.take(j.host.now())
}

// system adds a line of the platform's.
func (j *journal) system(level, message string) {
	j.add(LogLine{Kind: models.LogSystem, Level: level, Message: message})
}

// allowRequest asks the same for a line that closes a request.
func (j *journal) allowRequest() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.requests.take(j.host.now())
}

// add hands a line to the sink.
func (j *journal) add(line LogLine) {
	if j.mute {
		return
	}
	line.ReleaseID = j.release.ID
	line.Message, line.Stack, line.Path = j.mask(line.Message), j.mask(line.Stack), j.mask(line.Path)
	line.Message, line.Stack = clamp(line.Message, maxMessage), clamp(line.Stack, maxMessage)
	line.Path = clamp(line.Path, 2048)
	now := j.host.now()
	if line.Time.IsZero() {
		line.Time = now.UTC()
	}
	j.mu.Lock()
	j.last = now
	j.mu.Unlock()
	if j.host.options.Logs != nil {
		j.host.options.Logs.Log(j.release, []LogLine{line})
	}
}

// tellDropped adds a line about the lines that were not.
func (j *journal) tellDropped() {
	j.mu.Lock()
	said, requests := j.said.dropped, j.requests.dropped
	j.said.dropped, j.requests.dropped = 0, 0
	j.mu.Unlock()
	if said > 0 {
		j.system("warn", fmt.Sprintf("%d lines dropped: a worker may say %d a second", said, lineRate))
	}
	if requests > 0 {
		j.system("warn", fmt.Sprintf("%d requests not listed: %d a second are", requests, lineRate))
	}
}

func (j *journal) lastLine() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// clamp shortens text to a number of bytes, and makes it valid UTF-8 without NUL,
// which PostgreSQL does not take.
func clamp(text string, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
