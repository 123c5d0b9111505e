package assets

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const pageText = "<!doctype html><title>A page</title>"

// planSite has a page with both variants, a script without, and a picture.
func planSite(t testing.TB, config Config, headers, redirects string) *Site {
	t.Helper()
	b, err := NewBuilder(config)
	require.NoError(t, err)
	page := File{Digest: digestOf(pageText), Size: 100, ContentType: "text/html; charset=utf-8", Encodings: map[string]Encoded{
		"br":   {Digest: digestOf("br"), Size: 40},
		"gzip": {Digest: digestOf("gzip"), Size: 50},
	}}
	require.NoError(t, b.Add("/index.html", page))
	require.NoError(t, b.Add("/docs/index.html", page))
	require.NoError(t, b.Add("/404.html", File{Digest: digestOf("404"), Size: 3, ContentType: "text/html; charset=utf-8"}))
	require.NoError(t, b.Add("/app.js", File{Digest: digestOf("js"), Size: 10, ContentType: "text/javascript; charset=utf-8"}))
	require.NoError(t, b.Add("/empty", File{Digest: digestOf(""), Size: 0, ContentType: "text/plain"}))
	require.NoError(t, b.Add("/users/id.html", File{Digest: digestOf("user"), Size: 4, ContentType: "text/html; charset=utf-8"}))
	rules, warnings := ParseHeaders([]byte(headers))
	require.Empty(t, warnings)
	b.SetHeaders(rules)
	targets, warnings := ParseRedirects([]byte(redirects), config.HTMLHandling)
	require.Empty(t, warnings)
	b.SetRedirects(targets)
	return buildSite(t, b)
}

// ask plans a request whose header is given as alternating names and values.
func ask(s *Site, method, target string, header ...string) (Response, http.Header) {
	path, query, _ := strings.Cut(target, "?")
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	r := s.Plan(Request{Method: method, Host: "site.example", Path: path, Query: query, Header: h})
	out := make(http.Header)
	r.Apply(out)
	return r, out
}

func TestPlan_servesAFileWithTheDocumentedHeaders(t *testing.T) {
	s := planSite(t, Config{}, "", "")
	r, h := ask(s, "GET", "/")
	require.Equal(t, 200, r.Status)
	require.Equal(t, Body{Digest: digestOf(pageText), Length: 100, Size: 100}, r.Body)
	require.Equal(t, http.Header{
		"Accept-Ranges":  {"bytes"},
		"Cache-Control":  {"public, max-age=0, must-revalidate"},
		"Content-Length": {"100"},
		"Content-Type":   {"text/html; charset=utf-8"},
		"Etag":           {`"` + digestOf(pageText)[:32] + `"`},
		"Vary":           {"Accept-Encoding"},
	}, h)

	_, h = ask(s, "GET", "/app.js")
	require.NotContains(t, h, "Vary", "a file with one form does not vary")
}

func TestPlan_leavesCachingOutForAuthorizedAndRangedRequests(t *testing.T) {
	s := planSite(t, Config{}, "", "")
	_, h := ask(s, "GET", "/", "Authorization", "Bearer x")
	require.NotContains(t, h, "Cache-Control")
	_, h = ask(s, "GET", "/", "Range", "bytes=0-1")
	require.NotContains(t, h, "Cache-Control")
}

func TestPlan_headHasTheHeadersOfGetAndNoBody(t *testing.T) {
	s := planSite(t, Config{NotFoundHandling: NotFoundPage}, "", "")
	for _, path := range []string{"/", "/app.js", "/docs", "/missing"} {
		get, getHeader := ask(s, "GET", path, "Accept-Encoding", "br")
		head, headHeader := ask(s, "HEAD", path, "Accept-Encoding", "br")
		require.Equal(t, get.Status, head.Status, path)
		require.Equal(t, getHeader, headHeader, path)
		require.Empty(t, head.Body, path)
	}
}

func TestPlan_refusesOtherMethodsWhereThereIsAFile(t *testing.T) {
	s := planSite(t, Config{}, "", "")
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"} {
		r, h := ask(s, method, "/")
		require.Equal(t, 405, r.Status, method)
		require.Equal(t, "GET, HEAD", h.Get("Allow"))
		r, _ = ask(s, method, "/docs")
		require.Equal(t, 405, r.Status, method)
		r, _ = ask(s, method, "/missing")
		require.Equal(t, 404, r.Status, method)
		require.True(t, r.Missing)
	}
}

func TestPlan_sendsTheBestVariantTheClientTakes(t *testing.T) {
	s := planSite(t, Config{}, "", "")
	for accept, digest := range map[string]string{
		"gzip, deflate, br, zstd": digestOf("br"),
		"gzip":                    digestOf("gzip"),
		"br;q=0.5, gzip;q=0.9":    digestOf("gzip"),
		"identity":                digestOf(pageText),
	} {
		r, _ := ask(s, "GET", "/", "Accept-Encoding", accept)
		require.Equal(t, digest, r.Body.Digest, accept)
	}
	_, h := ask(s, "GET", "/", "Accept-Encoding", "br")
	require.Equal(t, "br", h.Get("Content-Encoding"))
	require.Equal(t, "40", h.Get("Content-Length"))
	require.Equal(t, "text/html; charset=utf-8", h.Get("Content-Type"))
	_, plain := ask(s, "GET", "/")
	require.NotEqual(t, plain.Get("Etag"), h.Get("Etag"), "two forms of a file need two strong tags")
}

func TestPlan_answers304WhenTheTagIsKnown(t *testing.T) {
	s := planSite(t, Config{NotFoundHandling: NotFoundPage}, "", "")
	_, h := ask(s, "GET", "/", "Accept-Encoding", "br")
	etag := h.Get("Etag")
	for _, known := range []string{etag, "W/" + etag, `"x", ` + etag, "*", "W/\"y\" ,W/" + etag} {
		r, h := ask(s, "GET", "/", "Accept-Encoding", "br", "If-None-Match", known)
		require.Equal(t, 304, r.Status, known)
		require.Empty(t, r.Body)
		require.Equal(t, http.Header{
			"Cache-Control": {"public, max-age=0, must-revalidate"}, "Etag": {etag}, "Vary": {"Accept-Encoding"},
		}, h)
	}
	for _, unknown := range []string{`"x"`, etag[1 : len(etag)-1], `"`, "W/", ","} {
		r, _ := ask(s, "GET", "/", "Accept-Encoding", "br", "If-None-Match", unknown)
		require.Equal(t, 200, r.Status, unknown)
	}
	r, _ := ask(s, "GET", "/", "Accept-Encoding", "gzip", "If-None-Match", etag)
	require.Equal(t, 200, r.Status, "the tag of another form is not this one's")
	_, h = ask(s, "GET", "/missing")
	r, _ = ask(s, "GET", "/missing", "If-None-Match", h.Get("Etag"))
	require.Equal(t, 404, r.Status, "preconditions apply to successes only")
	r, _ = ask(s, "GET", "/", "If-Match", `"other"`)
	require.Equal(t, 412, r.Status)
}

func TestPlan_servesOneRangeOfThePlainForm(t *testing.T) {
	s := planSite(t, Config{}, "", "")
	_, h := ask(s, "GET", "/")
	etag := h.Get("Etag")
	for _, c := range []struct {
		name, path string
		header     []string
		status     int
		part       string
		body       Body
	}{
		{"first bytes", "/", []string{"Range", "bytes=0-9"}, 206, "bytes 0-9/100", Body{digestOf(pageText), 0, 10, 100}},
		{"from the middle", "/", []string{"Range", "bytes=90-"}, 206, "bytes 90-99/100", Body{digestOf(pageText), 90, 10, 100}},
		{"last bytes", "/", []string{"Range", "bytes=-10"}, 206, "bytes 90-99/100", Body{digestOf(pageText), 90, 10, 100}},
		{"longer than it is", "/", []string{"Range", "bytes=-999"}, 206, "bytes 0-99/100", Body{digestOf(pageText), 0, 100, 100}},
		{"end past the end", "/", []string{"Range", "bytes=99-99999999999999999999"}, 206, "bytes 99-99/100", Body{digestOf(pageText), 99, 1, 100}},
		{"never of a compressed form", "/", []string{"Range", "bytes=0-9", "Accept-Encoding", "br"}, 206, "bytes 0-9/100", Body{digestOf(pageText), 0, 10, 100}},
		{"condition holds", "/", []string{"Range", "bytes=0-9", "If-Range", etag}, 206, "bytes 0-9/100", Body{digestOf(pageText), 0, 10, 100}},
		{"condition fails", "/", []string{"Range", "bytes=0-9", "If-Range", `"old"`}, 200, "", Body{digestOf(pageText), 0, 100, 100}},
		{"weak condition", "/", []string{"Range", "bytes=0-9", "If-Range", "W/" + etag}, 200, "", Body{digestOf(pageText), 0, 100, 100}},
		{"past the end", "/", []string{"Range", "bytes=100-"}, 416, "bytes */100", Body{}},
		{"nothing of it", "/", []string{"Range", "bytes=-0"}, 416, "bytes */100", Body{}},
		{"of an empty file", "/empty", []string{"Range", "bytes=0-0"}, 416, "bytes */0", Body{}},
		{"several", "/", []string{"Range", "bytes=0-1,3-4"}, 200, "", Body{digestOf(pageText), 0, 100, 100}},
		{"backwards", "/", []string{"Range", "bytes=9-0"}, 200, "", Body{digestOf(pageText), 0, 100, 100}},
		{"another unit", "/", []string{"Range", "lines=0-1"}, 200, "", Body{digestOf(pageText), 0, 100, 100}},
		{"nonsense", "/", []string{"Range", "bytes=a-b"}, 200, "", Body{digestOf(pageText), 0, 100, 100}},
	} {
		r, h := ask(s, "GET", c.path, c.header...)
		require.Equal(t, c.status, r.Status, c.name)
		require.Equal(t, c.part, h.Get("Content-Range"), c.name)
		require.Equal(t, c.body, r.Body, c.name)
		require.NotContains(t, h, "Content-Encoding", c.name)
	}
	r, _ := ask(s, "HEAD", "/", "Range", "bytes=0-9")
	require.Equal(t, 200, r.Status, "a range is only for GET (RFC 9110 §14.2)")
}

func TestPlan_redirectsKeepTheQuery(t *testing.T) {
	s := planSite(t, Config{}, "", "/old /new\n/has /new?a=1#top 301\n/out https://example.com/x#y 308\n/docs/v1/* /docs/:splat 303\n/p/:a/:b /q/:b/:a 307\n")
	for _, c := range []struct {
		target, location string
		status           int
	}{
		{"/docs", "/docs/", 307},
		{"/docs?a=1&b=%20", "/docs/?a=1&b=%20", 307},
		{"/index.html?x", "/?x", 307},
		{"/old", "/new", 302},
		{"/old?q=1", "/new?q=1", 302},
		{"/has?q=1", "/new?a=1#top", 301},
		{"/out", "https://example.com/x#y", 308},
		{"/out?q=1", "https://example.com/x?q=1#y", 308},
		{"/docs/v1/a/b", "/docs/a/b", 303},
		{"/docs/v1/", "/docs/", 303},
		{"/docs/v1//evil.example/", "/docs/evil.example/", 303},
		{"/p/1/2", "/q/2/1", 307},
	} {
		r, h := ask(s, "GET", c.target)
		require.Equal(t, c.status, r.Status, c.target)
		require.Equal(t, c.location, h.Get("Location"), c.target)
	}
}

func TestPlan_aSplatNeverLeadsToAnotherHost(t *testing.T) {
	s := planSite(t, Config{}, "", "/go/* /:splat 302\n")
	for _, path := range []string{"/go//evil.example", "/go/%2F/evil.example", `/go/\evil.example`, "/go/%5Cevil.example", "/go///x", "/go/@evil.example"} {
		r, _ := ask(s, "GET", path)
		require.Equal(t, 302, r.Status)
		requireOwnPath(t, r.Location)
	}
}

func TestPlan_redirectsComeBeforeFiles(t *testing.T) {
	s := planSite(t, Config{}, "", "/app.js /index2 302\n")
	r, _ := ask(s, "GET", "/app.js")
	require.Equal(t, "/index2", r.Location)
}

func TestPlan_aRewriteServesTheTargetAtTheRequestsAddress(t *testing.T) {
	s := planSite(t, Config{}, "", "/users/* /users/id.html 200\n/gone /nowhere 200\n")
	r, h := ask(s, "GET", "/users/123?x=1")
	require.Equal(t, 200, r.Status)
	require.Equal(t, digestOf("user"), r.Body.Digest)
	require.NotContains(t, h, "Location")
	r, _ = ask(s, "GET", "/gone")
	require.Equal(t, 404, r.Status)
}

func TestPlan_appliesHeaderRules(t *testing.T) {
	s := planSite(t, Config{NotFoundHandling: NotFoundSPA}, `
# comment
/*
  X-Frame-Options: DENY
  X-Many: a
/app.js
  Cache-Control: public, max-age=31536000, immutable
  X-Many: b
  ! X-Frame-Options
/docs/:page
  X-Page: :page
https://site.example/empty
  X-Host: yes
https://:sub.elsewhere.example/*
  X-Host: no
`, "/old /new")
	_, h := ask(s, "GET", "/")
	require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	require.Equal(t, "public, max-age=0, must-revalidate", h.Get("Cache-Control"))
	_, h = ask(s, "GET", "/app.js")
	require.Equal(t, "public, max-age=31536000, immutable", h.Get("Cache-Control"))
	require.Equal(t, "a, b", h.Get("X-Many"))
	require.NotContains(t, h, "X-Frame-Options")
	_, h = ask(s, "GET", "/docs/intro")
	require.Equal(t, "intro", h.Get("X-Page"), "rules match the address that was asked for, fallbacks included")
	_, h = ask(s, "GET", "/old")
	require.Equal(t, "DENY", h.Get("X-Frame-Options"), "redirects carry the rules' headers too")
	_, h = ask(s, "GET", "/empty")
	require.Equal(t, "yes", h.Get("X-Host"))
	r, h := ask(s, "GET", "/", "If-None-Match", "*")
	require.Equal(t, 304, r.Status)
	require.Equal(t, "DENY", h.Get("X-Frame-Options"))
}

func TestPlan_aRulesOwnContentEncodingIsTheOnlyOne(t *testing.T) {
	s := planSite(t, Config{}, "/docs/\n  Content-Encoding: gzip\n", "")
	r, h := ask(s, "GET", "/docs/", "Accept-Encoding", "br")
	require.Equal(t, digestOf(pageText), r.Body.Digest)
	require.Equal(t, []string{"gzip"}, h["Content-Encoding"])
}

func TestPlan_answersTheSameFromPreparedAddresses(t *testing.T) {
	for _, mode := range []HTMLHandling{AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash, ExactHTML} {
		s := planSite(t, Config{HTMLHandling: mode, NotFoundHandling: NotFoundPage}, "/*\n  X-A: :splat\n/app.js\n  ! ETag\n", "/docs/* /x/:splat\n")
		slow := *s
		slow.addresses = nil
		require.NotEmpty(t, s.addresses)
		for path := range s.addresses {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				want, wantHeader := ask(&slow, method, path)
				got, gotHeader := ask(s, method, path)
				require.Equal(t, want.Body, got.Body, path)
				require.Equal(t, want.Status, got.Status, path)
				require.Equal(t, wantHeader, gotHeader, path)
			}
		}
	}
}

func TestPlan_neverServesControlFiles(t *testing.T) {
	b, err := NewBuilder(Config{})
	require.NoError(t, err)
	for _, path := range []string{"/_headers", "/_redirects", "/.assetsignore"} {
		require.True(t, IsControlFile(path))
		require.Error(t, b.Add(path, fileOf("x")))
	}
	require.NoError(t, b.Add("/docs/_headers", fileOf("x")), "only those at the root are control files")
}

func FuzzPlan(f *testing.F) {
	f.Add("GET", "/", "a=1", "br;q=0.1", "bytes=0-", `"x"`)
	f.Add("HEAD", "/go//x", "\r\n", "*;q=0", "bytes=-1", `W/"x",*`)
	f.Add("POST", "/p/%2F/%5C", "?", ";;q=", "bytes=1-0", `"`)
	s := planSite(f, Config{NotFoundHandling: NotFoundPage}, "/*\n  X-A: :splat\n/p/:a\n  X-B: :a\n", "/go/* /:splat\n/p/:a/:b /:b/:a 301\n/r/* /:splat 200\n")
	f.Fuzz(func(t *testing.T, method, path, query, accept, ranges, match string) {
		r := s.Plan(Request{Method: method, Path: path, Query: query, Header: http.Header{
			"Accept-Encoding": {accept}, "Range": {ranges}, "If-None-Match": {match},
		}})
		require.GreaterOrEqual(t, r.Status, 200)
		h := make(http.Header)
		r.Apply(h)
		for name, values := range h {
			for _, value := range values {
				require.True(t, validFieldValue(value), "%s: %q", name, value)
			}
		}
		if r.Location != "" {
			requireOwnPath(t, r.Location)
		}
		require.LessOrEqual(t, r.Body.Offset+r.Body.Length, r.Body.Size)
	})
}

func BenchmarkPlan(b *testing.B) {
	s := planSite(b, Config{}, "/*\n  X-Frame-Options: DENY\n", "/old /new\n")
	header := http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd"}, "User-Agent": {"bench"}}
	b.ReportAllocs()
	for b.Loop() {
		if r := s.Plan(Request{Method: "GET", Path: "/", Header: header}); r.Status != 200 {
			b.Fatal(r.Status)
		}
	}
}
