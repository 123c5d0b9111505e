package models

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCleanDisplayName_keepsOneFormOfAName(t *testing.T) {
	for in, want := range map[string]string{
		"My shop":                "My shop",
		"  My \u00a0 shop\u3000": "My shop",
		"Cafe\u0301":             "Café",
		"Ångström":               "Ångström",
		"東京のお店":                  "東京のお店",
		"متجر":                   "متجر",
		"Shop ❤\uFE0F":           "Shop ❤\uFE0F",
		// A woman at a computer, with a tone of skin; a heart on fire; a family.
		"Ada 👩🏽\u200d💻":   "Ada 👩🏽\u200d💻",
		"❤\uFE0F\u200d🔥":  "❤\uFE0F\u200d🔥",
		"👩\u200d👩\u200d👧": "👩\u200d👩\u200d👧",
		// "I want" in Persian, and "Shri" in Sinhala.
		"می\u200cخواهم":          "می\u200cخواهم",
		"ශ්\u200dරී":             "ශ්\u200dරී",
		strings.Repeat("é", 100): strings.Repeat("é", 100),
	} {
		got, err := CleanDisplayName(in)
		require.NoError(t, err, "%q", in)
		require.Equal(t, want, got)
	}
}

func TestCleanDisplayName_refusesWhatCannotBeSeen(t *testing.T) {
	for name, in := range map[string]string{
		"empty": "", "spaces": " \u2003 ", "NUL": "a\x00b", "line end": "a\nb", "tab": "a\tb", "line separator": "a\u2028b", "escape": "\x1b[31mred",
		"override": "gpj.\u202Eexe", "isolate": "a\u2066b", "right-to-left mark": "a\u200Fb",
		"zero width space": "ad\u200Bmin", "joiner": "ad\u200Dmin", "non-joiner": "ad\u200Cmin",
		"joiner at the end": "👩\u200D", "joiner at the beginning": "\u200D👩", "two joiners": "👩\u200D\u200D👩", "joiner between picture and letter": "👩\u200Da",
		"non-joiner between pictures": "👩\u200C👩", "heap of marks on joiners": "क" + strings.Repeat("\u094D\u200D", 5), "byte order mark": "\uFEFFadmin", "soft hyphen": "ad\u00ADmin", "tag": "a\U000E0061",
		"Hangul filler": "\u3164", "blank Braille": "\u2800", "variation selector": "a\uFE01", "combining grapheme joiner": "a\u034Fb",
		"private use": "a\uE000", "replacement": "a\uFFFD", "not UTF-8": "a\xff", "only a mark": "\u0301",
		"heap of marks": "a" + strings.Repeat("\u0316", 5),
		"too long":      strings.Repeat("a", 101), "far too long": strings.Repeat("a", 10<<20),
	} {
		_, err := CleanDisplayName(in)
		require.Equal(t, CodeValidation, CodeOf(err), name)
	}
}

func FuzzCleanDisplayName(f *testing.F) {
	for _, s := range []string{"My shop", "Cafe\u0301", "a\u202Eb", "\xff", " ", strings.Repeat("\u0316", 40), "각", "\u1100\u1161", "👩\u200d💻", "ශ්\u200dරී"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean, err := CleanDisplayName(s)
		if err != nil {
			require.Equal(t, CodeValidation, CodeOf(err))
			return
		}
		require.True(t, utf8.ValidString(clean))
		require.LessOrEqual(t, utf8.RuneCountInString(clean), MaxDisplayName)
		again, err := CleanDisplayName(clean)
		require.NoError(t, err)
		require.Equal(t, clean, again)
	})
}
