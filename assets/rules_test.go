package assets

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseHeaders_ignoresWhatItCannotUseAndSaysWhy(t *testing.T) {
	rules, warnings := ParseHeaders([]byte(strings.Join([]string{
		"X-Early: 1",            // 1
		"/a b/*",                // 2
		"\tx-one:  a:b ",        // 3
		"X-One: c",              // 4
		"! Server",              // 5
		"no colon",              // 6
		"bad name: x",           // 7
		": x",                   // 8
		"X-Empty:",              // 9
		"Content-Length: 5",     // 10
		"X-Slipway-Org: me",     // 11
		"! Transfer-Encoding",   // 12
		"/nothing",              // 13
		"/two/*/splats/*",       // 14
		"X-Lost: 1",             // 15
		"/:a/:a",                // 16
		"http://insecure.test/", // 17
		"https://port.test:8/",  // 18
		"https://Host.TEST/x?y", // 19
		"X-Long: " + strings.Repeat("x", MaxRuleLine), // 20
		"X-Two: 2\r", // 21
	}, "\n")))
	require.Equal(t, []HeaderRule{
		{Pattern: "/a%20b/*", Set: []HeaderField{{"X-One", "a:b, c"}}, Unset: []string{"Server"}},
		{Pattern: "https://host.test/x", Set: []HeaderField{{"X-Two", "2"}}},
	}, rules)
	var lines []int
	for _, w := range warnings {
		lines = append(lines, w.Line)
	}
	require.Equal(t, []int{1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20}, lines)
}

func TestParseHeaders_refusesNamesOfThePlatform(t *testing.T) {
	for _, name := range []string{"X-Slipway-Org", "x-slipway-", "Transfer-Encoding", "connection", "Date", "Te"} {
		rules, warnings := ParseHeaders([]byte("/*\n  X-Kept: 1\n  " + name + ": 1\n"))
		require.Len(t, warnings, 1, name)
		require.Equal(t, []HeaderField{{"X-Kept", "1"}}, rules[0].Set)
	}
}

func TestParseHeaders_keepsTheFirstHundredRules(t *testing.T) {
	var file strings.Builder
	for i := range 102 {
		fmt.Fprintf(&file, "/%d\n  X: 1\n", i)
	}
	rules, warnings := ParseHeaders([]byte(file.String()))
	require.Len(t, rules, MaxHeaderRules)
	require.Len(t, warnings, 1)
}

func TestParseRedirects_ignoresWhatItCannotUseAndSaysWhy(t *testing.T) {
	rules, warnings := ParseRedirects([]byte(strings.Join([]string{
		"/a /b",                       // 1
		"# comment",                   // 2
		"/c?x#y //d//e?f#g 301 # why", // 3
		"/only",                       // 4
		"/a /again",                   // 5
		"/s /t 404",                   // 6
		"/s /t teapot",                // 7
		"/u http://insecure.test",     // 8
		"https://x.test/v /w",         // 9
		"/x https://x.test/y 200",     // 10
		"/* /index.html 200",          // 11
		"/ /index",                    // 12
		"bare https://x.test?q",       // 13
		"/y/* /z/:splat 308",          // 14
		"/after /dynamic",             // 15
		"/one two three four",         // 16
		"/*/* /x",                     // 17
		"/long /" + strings.Repeat("x", MaxRuleLine), // 18
	}, "\n")), AutoTrailingSlash)
	require.Equal(t, []Redirect{
		{"/a", "/b", 302},
		{"/c", "/d/e?f#g", 301},
		{"/bare", "https://x.test/?q", 302},
		{"/y/*", "/z/:splat", 308},
		{"/after", "/dynamic", 302},
	}, rules)
	var lines []int
	for _, w := range warnings {
		lines = append(lines, w.Line)
	}
	require.Equal(t, []int{4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 18}, lines)
}

func TestParseRedirects_keepsTwoThousandStaticAndAHundredDynamic(t *testing.T) {
	var file strings.Builder
	for i := range MaxStaticRedirects + 5 {
		fmt.Fprintf(&file, "/s%d /x\n", i)
	}
	for i := range MaxDynamicRedirects + 5 {
		fmt.Fprintf(&file, "/d%d/* /x\n", i)
	}
	rules, warnings := ParseRedirects([]byte(file.String()), AutoTrailingSlash)
	require.Len(t, rules, MaxStaticRedirects+MaxDynamicRedirects)
	require.Len(t, warnings, 7)
}

func TestExpand_takesWholeNames(t *testing.T) {
	captures := map[string]string{"id": "1", "id_2": "2"}
	require.Equal(t, "/2/1/:other/1-x", expand("/:id_2/:id/:other/:id-x", captures))
}

func FuzzParseHeaders(f *testing.F) {
	f.Add([]byte("/*\n  X: 1\n  ! Y\nhttps://:a.b/c\n Z: :a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, _ := ParseHeaders(data)
		require.LessOrEqual(t, len(rules), MaxHeaderRules)
		for _, rule := range rules {
			require.NoError(t, rule.validate())
		}
		_, err := compileHeaders(rules)
		require.NoError(t, err)
	})
}

func FuzzParseRedirects(f *testing.F) {
	f.Add([]byte("/a /b\n/c/* https://d/:splat 301\n/:x //y 200"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, _ := ParseRedirects(data, AutoTrailingSlash)
		for _, rule := range rules {
			require.NoError(t, rule.validate(), "%+v", rule)
		}
		compiled, err := compileRedirects(rules)
		require.NoError(t, err)
		for _, path := range []string{"/", "/a", "/x//y", "/%5C"} {
			if rule, ok := compiled.find(path); ok && rule.To[0] == '/' {
				to, _, _ := splitTarget(rule.To)
				requireOwnPath(t, to)
			}
		}
	})
}
