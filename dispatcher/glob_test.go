package dispatcher

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMatchGlob_isAnchoredAndCrossesSlashes(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"/*", "/", true}, {"/*", "/a/b", true}, {"/api/*", "/api", false}, {"/api/*", "/api/", true}, {"/api", "/api", true},
		{"/api", "/api/x", false}, {"/*.png", "/a/b.png", true}, {"/*.png", "/a.png.js", false}, {"/a*b*c", "/axxbyyc", true},
		{"/a*b*c", "/axxcyy", false}, {"*", "", true}, {"", "", true}, {"", "/", false}, {"/a.b", "/axb", false}, {"/**", "/x", true},
	} {
		require.Equal(t, c.want, matchGlob(c.pattern, c.text), "%q %q", c.pattern, c.text)
	}
	began := time.Now()
	require.False(t, matchGlob(strings.Repeat("a*", 50)+"b", strings.Repeat("a", 32<<10)))
	require.Less(t, time.Since(began), 20*time.Second, "backtracking would take longer than the universe lasts")
}

func FuzzMatchGlob(f *testing.F) {
	f.Add("/api/*", "/api/x")
	f.Add("a*b**c", "aabbcc")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		expr, err := regexp.Compile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
		if err != nil || strings.ToValidUTF8(pattern, "") != pattern || strings.ToValidUTF8(text, "") != text {
			return // regexp reads runes, the glob bytes
		}
		require.Equal(t, expr.MatchString(text), matchGlob(pattern, text))
	})
}
