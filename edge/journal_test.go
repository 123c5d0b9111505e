package edge

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func newJournal(now *time.Time) (*journal, *sink) {
	said := &sink{}
	h := &Host{limits: testLimits(), options: Options{Now: func() time.Time { return *now }, Logs: said}, journals: map[string]*journal{}}
	return h.journal(Release{ID: "r1"}), said
}

func TestJournal_boundsALine(t *testing.T) {
	now := time.Now()
	j, said := newJournal(&now)
	j.system("info", strings.Repeat("y", 2*maxMessage))
	assert.LessOrEqual(t, len(said.of("r1")[0].Message), maxMessage+3)
}

func TestJournal_letsABurstAndThenARatePass(t *testing.T) {
	now := time.Now()
	j, said := newJournal(&now)
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
	assert.Contains(t, said.of("r1")[0].Message, "2800 lines dropped")
	j.tellDropped()
	assert.Len(t, said.of("r1"), 1)
	assert.True(t, j.allowRequest(), "requests have lines of their own")
}

func TestClamp_keepsTextValid(t *testing.T) {
	assert.Equal(t, "ab", clamp("ab", 2))
	assert.Equal(t, "a…", clamp("aé", 2))
	assert.Equal(t, "\uFFFD\uFFFD", clamp("\xff\x00", 9))
	assert.True(t, utf8.ValidString(clamp(strings.Repeat("日", 100), 100)))
}
