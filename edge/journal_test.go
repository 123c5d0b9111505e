package edge

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func newJournal(now *time.Time) *journal {
	h := &Host{limits: testLimits(), options: Options{Now: func() time.Time { return *now }}, journals: map[string]*journal{}}
	return h.journal(Release{ID: "r1"})
}

func TestJournal_keepsTheLastLinesWithinItsBytes(t *testing.T) {
	now := time.Now()
	j := newJournal(&now)
	for i := range 600 {
		j.system("info", strings.Repeat("x", i))
	}
	lines := j.recent()
	assert.Len(t, lines, testLimits().LogLines)
	assert.Len(t, lines[len(lines)-1].Message, 599)
	for range 200 {
		j.system("info", strings.Repeat("y", 2*maxMessage))
	}
	held := 0
	for _, line := range j.recent() {
		held += size(line)
	}
	assert.LessOrEqual(t, held, journalBytes)
	assert.Equal(t, held, j.bytes)
}

func TestJournal_letsABurstAndThenARatePass(t *testing.T) {
	now := time.Now()
	j := newJournal(&now)
	passed := func(tries int) (n int) {
		for range tries {
			if j.allow() {
				n++
			}
		}
		return n
	}
	assert.Equal(t, lineBurst, passed(3*lineBurst))
	now = now.Add(time.Second)
	assert.Equal(t, lineRate, passed(lineBurst))
	j.tellDropped()
	assert.Contains(t, j.recent()[0].Message, "2800 lines dropped")
	j.tellDropped()
	assert.Len(t, j.recent(), 1)
	assert.True(t, j.allowRequest(), "requests have lines of their own")
}

func TestClamp_keepsTextValid(t *testing.T) {
	assert.Equal(t, "ab", clamp("ab", 2))
	assert.Equal(t, "a…", clamp("aé", 2))
	assert.Equal(t, "\uFFFD\uFFFD", clamp("\xff\x00", 9))
	assert.True(t, utf8.ValidString(clamp(strings.Repeat("日", 100), 100)))
}
