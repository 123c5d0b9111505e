package assets

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// siteOf makes a site of empty files, each with a digest of its own.
func siteOf(t testing.TB, config Config, paths ...string) *Site {
	t.Helper()
	b, err := NewBuilder(config)
	require.NoError(t, err)
	for _, path := range paths {
		require.NoError(t, b.Add(path, fileOf(path)))
	}
	return buildSite(t, b)
}

func buildSite(t testing.TB, b *Builder) *Site {
	t.Helper()
	manifest, err := b.Build()
	require.NoError(t, err)
	site, err := NewSite(manifest)
	require.NoError(t, err)
	return site
}

func fileOf(content string) File {
	return File{Digest: digestOf(content), Size: int64(len(content)), ContentType: ContentType(content, []byte(content))}
}

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestMatch_answersAsTheTableSays(t *testing.T) {
	file, err := os.Open("testdata/html-handling.txt")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()

	var config Config
	var site *Site
	cases := 0
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "mode":
			config.HTMLHandling = HTMLHandling(words[1])
		case words[0] == "files":
			site = siteOf(t, config, words[1:]...)
		default:
			cases++
			d := site.Match(words[0])
			got := "404"
			switch d.Outcome {
			case Serve:
				got = d.File
			case RedirectTo:
				got = "-> " + d.Location
			}
			require.Equal(t, strings.Join(words[1:], " "), got, "line %d, %s, %s", number, config.HTMLHandling, words[0])
		}
	}
	require.NoError(t, lines.Err())
	require.Greater(t, cases, 100)
}

// The published table of the platform this package follows is run wherever it
// lies beside the repository; continuous integration must have it.
func TestMatch_agreesWithThePublishedTable(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "shared", "vectors", "html-handling-cases.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the published table must be there in CI: %v", err)
		}
		t.Skipf("the published table is not beside the repository: %v", err)
	}
	var groups []struct {
		HTMLHandling HTMLHandling `json:"html_handling"`
		Cases        []struct {
			Title       string   `json:"title"`
			Files       []string `json:"files"`
			RequestPath string   `json:"requestPath"`
			MatchedFile string   `json:"matchedFile"`
			FinalPath   string   `json:"finalPath"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(data, &groups))
	ran := 0
	for _, group := range groups {
		for _, c := range group.Cases {
			ran++
			site := siteOf(t, Config{HTMLHandling: group.HTMLHandling}, c.Files...)
			d := site.Match(c.RequestPath)
			switch {
			case c.MatchedFile == "":
				require.Equal(t, NotFound, d.Outcome, "%s: %s", group.HTMLHandling, c.Title)
				continue
			case c.FinalPath != c.RequestPath:
				require.Equal(t, Decision{Outcome: RedirectTo, Status: 307, Location: c.FinalPath}, d, "%s: %s", group.HTMLHandling, c.Title)
				d = site.Match(c.FinalPath)
			}
			require.Equal(t, Decision{Outcome: Serve, Status: 200, File: c.MatchedFile}, d, "%s: %s", group.HTMLHandling, c.Title)
		}
	}
	require.Equal(t, 111, ran)
}

func TestMatch_notFoundHandlingChoosesTheFallback(t *testing.T) {
	files := []string{"/index.html", "/404.html", "/blog/404.html", "/blog/post.html"}
	page := siteOf(t, Config{NotFoundHandling: NotFoundPage}, files...)
	require.Equal(t, Decision{Outcome: Serve, File: "/404.html", Fallback: true, Status: 404}, page.Match("/x"))
	require.Equal(t, Decision{Outcome: Serve, File: "/404.html", Fallback: true, Status: 404}, page.Match("/%FF"))
	require.Equal(t, Decision{Outcome: Serve, File: "/blog/404.html", Fallback: true, Status: 404}, page.Match("/blog/x"))
	require.Equal(t, Decision{Outcome: Serve, File: "/blog/404.html", Fallback: true, Status: 404}, page.Match("/blog/a/b/c"))
	require.Equal(t, Decision{Outcome: Serve, File: "/404.html", Fallback: true, Status: 404}, page.Match("/blogs/x"))

	spa := siteOf(t, Config{NotFoundHandling: NotFoundSPA}, files...)
	require.Equal(t, Decision{Outcome: Serve, File: "/index.html", Fallback: true, Status: 200}, spa.Match("/user/[id]"))
	require.Equal(t, Decision{Outcome: Serve, File: "/index.html", Fallback: true, Status: 200}, spa.Match("//evil.example/x"))

	bare := siteOf(t, Config{NotFoundHandling: NotFoundSPA}, "/app.js")
	require.Equal(t, Decision{Outcome: NotFound, Status: 404}, bare.Match("/x"))
}

func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"/", "/docs", "/docs/index.html", "//evil.example", "/\\evil.example", "/%2F%2Fevil.example", "/%", "/%00", "/\xff", "/x//y/", "/..%2f..", "http://x/", ""} {
		f.Add(seed, uint8(0))
	}
	paths := []string{"/index.html", "/docs/index.html", "/about.html", "/raw", "/raw.html", "/404.html", "/evil.example/index.html", "/[x]/ü.html"}
	var sites []*Site
	for _, mode := range []HTMLHandling{AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash, ExactHTML} {
		for _, fallback := range []NotFoundHandling{NotFoundNone, NotFoundPage, NotFoundSPA} {
			sites = append(sites, siteOf(f, Config{mode, fallback}, paths...))
		}
	}
	f.Fuzz(func(t *testing.T, path string, which uint8) {
		site := sites[int(which)%len(sites)]
		d := site.Match(path)
		if d.Outcome != RedirectTo {
			return
		}
		requireOwnPath(t, d.Location)
		again := site.Match(d.Location)
		require.Equal(t, Serve, again.Outcome, "a redirect leads to a file, not to another redirect: %q -> %q", path, d.Location)
		require.False(t, again.Fallback)
	})
}

// requireOwnPath says that a browser stays on the same host.
func requireOwnPath(t *testing.T, location string) {
	t.Helper()
	require.True(t, strings.HasPrefix(location, "/"), "location %q", location)
	require.False(t, len(location) > 1 && (location[1] == '/' || location[1] == '\\'), "location %q", location)
	for i := 0; i < len(location); i++ {
		require.True(t, location[i] > ' ' && location[i] < 0x7f && location[i] != '\\', "location %q", location)
	}
}
