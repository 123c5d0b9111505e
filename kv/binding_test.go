package kv

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// largest sees the greatest piece that is written.
type largest struct {
	bytes.Buffer
	most int
}

func (l *largest) Write(p []byte) (int, error) {
	l.most = max(l.most, len(p))
	return l.Buffer.Write(p)
}

func (l *largest) WriteString(s string) (int, error) { return l.Write([]byte(s)) }

func TestWriteQuoted_writesInPiecesWhatQuoteMakesAtOnce(t *testing.T) {
	for _, piece := range []string{"\x01", "a", "\u00e9", "\u65e5", "\U0001F600", "\xff", "\xe2\x82", "\xf0\x9f\x98", "\x80", "<\"\n"} {
		for shift := range 4 {
			text := strings.Repeat("x", shift) + strings.Repeat(piece, 3*quotedAtOnce/len(piece))
			var written largest
			require.NoError(t, writeQuoted(&written, []byte(text)))
			require.True(t, string(quote(text)) == written.String(), "%q", piece)
			require.LessOrEqual(t, written.most, 6*quotedAtOnce)
		}
	}
}
