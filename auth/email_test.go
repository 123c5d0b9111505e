package auth

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestNormalizeEmail_givesOneFormOfAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"ada@example.com":                      "ada@example.com",
		" Ada.Lovelace+x@Example.COM ":         "ada.lovelace+x@example.com",
		"owner@localhost":                      "owner@localhost",
		"zoe\u0308@example.com":                "zoë@example.com",
		"ada@bücher.example":                   "ada@xn--bcher-kva.example",
		"ada@ехаmple.com":                      "ada@xn--mple-43d3a6i.com", // Cyrillic е, х and а show
		"o'hara@example.com":                   "o'hara@example.com",
		strings.Repeat("a", 64) + "@b.example": strings.Repeat("a", 64) + "@b.example",
	} {
		got, ok := NormalizeEmail(address)
		require.True(t, ok, address)
		require.Equal(t, want, got)
	}
	// Letters that look alike stay different people.
	cyrillic, ok := NormalizeEmail("аda@example.com")
	require.True(t, ok)
	require.NotEqual(t, "ada@example.com", cyrillic)
}

func TestNormalizeEmail_refusesWhatCouldPassForAnother(t *testing.T) {
	for _, address := range []string{
		"", "@", "a@", "@b", "a", "a@b@c.example", "a b@example.com", "a\n@example.com", "a@example.com\r\nBcc: x@example.com", "a\x00@example.com", "\ta@example.com",
		"a\u200b@example.com", "a\u202e@example.com", "a\ufeff@example.com", "a\u00ad@example.com", "ａda@example.com", "ﬁ@example.com", "①@example.com",
		"\"a b\"@example.com", "a(comment)@example.com", "<a@example.com>", "Ada <a@example.com>", "a,b@example.com", "a@[127.0.0.1]", "a@-x.example", "a@x-.example",
		"a@x..example", "a@.example", "a@example.com.", ".a@example.com", "a.@example.com", "a..b@example.com", "a@exa mple.com", "a@example.com/x", "a@exam_ple.com",
		strings.Repeat("a", 65) + "@b.example", "a@" + strings.Repeat("b", 64) + ".example", "a@" + strings.Repeat("b.", 130) + "c", strings.Repeat("a", 1<<20) + "@b.example",
		"a\xff@example.com", "a\ufffd@example.com", "👩@example.com",
	} {
		_, ok := NormalizeEmail(address)
		require.False(t, ok, "%.60q", address)
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, seed := range []string{"ada@example.com", "zoe\u0308@BÜCHER.example", "İ@example.com", "a@xn--mple-83dw1b.com", "ǅ@x", "a\u0345@x.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		email, ok := NormalizeEmail(address)
		if !ok {
			return
		}
		if again, ok := NormalizeEmail(email); !ok || again != email {
			t.Errorf("%q becomes %q, and that %q (%v)", address, email, again, ok)
		}
		if !utf8.ValidString(email) || strings.ContainsAny(email, " \r\n\t<>,;\"()\x00") || strings.Count(email, "@") != 1 || len(email) > maxEmail {
			t.Errorf("%q becomes %q", address, email)
		}
	})
}

func FuzzTrustedURL(f *testing.F) {
	for _, seed := range []string{"/app", "//evil", "/\\evil", "https://app.example.com/x", "https://app.example.com@evil.example", "/a/../..//evil", "https:\\\\evil", "/\u0085/evil"} {
		f.Add(seed)
	}
	a := &Auth{origins: []string{"https://app.example.com"}}
	f.Fuzz(func(t *testing.T, target string) {
		if !a.trustedURL(target) {
			return
		}
		relative := strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "//")
		if !relative && !strings.HasPrefix(strings.ToLower(target), "https://app.example.com") || strings.ContainsAny(target, "\\\r\n\t\x00") {
			t.Errorf("%q is trusted", target)
		}
		if next := withQuery(target, "error", "x"); !a.trustedURL(next) {
			t.Errorf("%q is trusted, and %q is not", target, next)
		}
	})
}

func FuzzCookie(f *testing.F) {
	a := &Auth{secret: []byte("a secret")}
	f.Add("token." + a.signature("token"))
	f.Add("%2e%2E.")
	f.Add("a.b")
	f.Fuzz(func(t *testing.T, raw string) {
		if value, ok := a.unsign(raw); ok && !strings.HasSuffix(raw, a.signature(value)) && !strings.Contains(raw, "%") {
			t.Errorf("%q is taken for %q", raw, value)
		}
	})
}
