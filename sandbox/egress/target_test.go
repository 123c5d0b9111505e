package egress

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseTarget_readsOneSpellingFromMany(t *testing.T) {
	for text, want := range map[string]string{
		"registry.npmjs.org:443":  "registry.npmjs.org:443",
		"Registry.NPMjs.org:443":  "registry.npmjs.org:443",
		"registry.npmjs.org.:443": "registry.npmjs.org:443",
		"localhost:80":            "localhost:80",
		"a-b.c1:1":                "a-b.c1:1",
	} {
		target, err := ParseTarget(text)
		require.NoError(t, err, text)
		require.Equal(t, want, target.String())
	}
}

func TestParseTarget_refusesEverythingElse(t *testing.T) {
	for _, text := range []string{
		"", ":", ":443", "host", "host:", "host:0", "host:65536", "host:-1", "host:+1", "host:0443", "host: 443", "host:http",
		"127.0.0.1:443", "2130706433:443", "0x7f000001:443", "0177.0.0.1:443", "127.1:443", "1.2.3.4.:443",
		"[::1]:443", "[::ffff:127.0.0.1]:443", "a..b:443", ".a:443", "-a:443", "a-:443", "a_b:443", "a b:443", "a/b:443",
		"user@host:443", "http://host:443", "host:443/", "host:443:443", "h\x00st:443", "höst:443", "a.%31:443",
		strings.Repeat("a", 64) + ":443", strings.Repeat("a.", 130) + "a:443",
	} {
		_, err := ParseTarget(text)
		require.Error(t, err, text)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"registry.npmjs.org:443", "[::1]:443", "127.0.0.1:1", "A.b.:65535", "x:00", "0x7f.1:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			return
		}
		if _, err := netip.ParseAddr(target.Host); err == nil {
			t.Fatalf("%q is an address", text)
		}
		again, err := ParseTarget(target.String())
		if err != nil || again != target {
			t.Fatalf("%q: %v is not canonical: %v, %v", text, target, again, err)
		}
	})
}
