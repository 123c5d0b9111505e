package assets

import (
	"strings"
	"testing"

	"github.com/slipwayhq/slipway/models"
	"github.com/stretchr/testify/require"
)

func sampleManifest(t testing.TB) *Manifest {
	b, err := NewBuilder(Config{NotFoundHandling: NotFoundPage})
	require.NoError(t, err)
	require.NoError(t, b.Add("/index.html", File{Digest: digestOf("a"), Size: 1, ContentType: "text/html", Encodings: map[string]Encoded{"br": {digestOf("b"), 2}}}))
	require.NoError(t, b.Add("/ü/[x].js", fileOf("c")))
	b.SetHeaders([]HeaderRule{{Pattern: "/*", Set: []HeaderField{{"X-A", "1"}}}})
	b.SetRedirects([]Redirect{{"/a", "/b", 301}})
	manifest, err := b.Build()
	require.NoError(t, err)
	return manifest
}

func TestManifest_readsBackWhatItWrote(t *testing.T) {
	manifest := sampleManifest(t)
	data, err := manifest.Encode()
	require.NoError(t, err)
	again, err := ParseManifest(data)
	require.NoError(t, err)
	require.Equal(t, manifest, again)
	twice, err := again.Encode()
	require.NoError(t, err)
	require.Equal(t, string(data), string(twice), "equal manifests have equal digests")
	require.Len(t, manifest.Digests(), 3)
}

func TestParseManifest_refusesWhatItWouldMisread(t *testing.T) {
	digest := digestOf("a")
	file := `{"digest":"` + digest + `","size":1}`
	for name, text := range map[string]string{
		"not JSON":          `{`,
		"another version":   `{"version":2,"files":{}}`,
		"no version":        `{"files":{}}`,
		"unknown field":     `{"version":1,"files":{},"more":1}`,
		"bytes after":       `{"version":1,"files":{}} {}`,
		"unknown mode":      `{"version":1,"config":{"html_handling":"x"},"files":{}}`,
		"relative path":     `{"version":1,"files":{"a":` + file + `}}`,
		"dot segment":       `{"version":1,"files":{"/a/../b":` + file + `}}`,
		"empty segment":     `{"version":1,"files":{"/a//b":` + file + `}}`,
		"folder":            `{"version":1,"files":{"/a/":` + file + `}}`,
		"backslash":         `{"version":1,"files":{"/a\\b":` + file + `}}`,
		"NUL":               `{"version":1,"files":{"/a\u0000":` + file + `}}`,
		"control file":      `{"version":1,"files":{"/_headers":` + file + `}}`,
		"short digest":      `{"version":1,"files":{"/a":{"digest":"ab","size":1}}}`,
		"upper-case digest": `{"version":1,"files":{"/a":{"digest":"` + strings.ToUpper(digest) + `","size":1}}}`,
		"negative size":     `{"version":1,"files":{"/a":{"digest":"` + digest + `","size":-1}}}`,
		"split header":      `{"version":1,"files":{"/a":{"digest":"` + digest + `","size":1,"contentType":"a\r\nb"}}}`,
		"unknown coding":    `{"version":1,"files":{"/a":{"digest":"` + digest + `","size":1,"encodings":{"x":{"digest":"` + digest + `","size":1}}}}}`,
		"foreign redirect":  `{"version":1,"files":{},"redirects":[{"from":"/a","to":"//evil.example","status":301}]}`,
		"empty redirect":    `{"version":1,"files":{},"redirects":[{"from":"/a","to":"","status":301}]}`,
		"framing header":    `{"version":1,"files":{},"headers":[{"pattern":"/a","set":[{"name":"Content-Length","value":"1"}]}]}`,
	} {
		_, err := ParseManifest([]byte(text))
		require.Error(t, err, name)
		require.Equal(t, models.CodeReleaseInvalid, models.CodeOf(err), name)
	}
}

func TestNewBuilder_refusesAnUnknownMode(t *testing.T) {
	_, err := NewBuilder(Config{NotFoundHandling: "spa"})
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
}

func TestContentType_goesByExtensionThenByContent(t *testing.T) {
	for path, want := range map[string]string{
		"/a.HTML": "text/html; charset=utf-8", "/a/b.mjs": "text/javascript; charset=utf-8", "/x.css": "text/css; charset=utf-8",
		"/a.svg": "image/svg+xml", "/a.woff2": "font/woff2", "/a.wasm": "application/wasm", "/a.webmanifest": "application/manifest+json",
		"/a.js.map": "application/json", "/noext": "image/png", "/a.d/noext": "image/png", "/a.unknown": "image/png", "/.well-known/x": "image/png",
	} {
		require.Equal(t, want, ContentType(path, []byte("\x89PNG\r\n\x1a\n")), path)
	}
	require.Equal(t, "text/plain; charset=utf-8", ContentType("/LICENSE", []byte("text")))
}

func TestCompressible_isForTextOfAUsefulSize(t *testing.T) {
	require.True(t, Compressible("text/html; charset=utf-8", 1000))
	require.True(t, Compressible("image/svg+xml", 1000))
	require.True(t, Compressible("application/wasm", 1000))
	require.False(t, Compressible("text/html", MinCompressible-1))
	require.False(t, Compressible("text/html", MaxCompressible+1))
	require.False(t, Compressible("image/png", 1000))
	require.False(t, Compressible("font/woff2", 1000))
}

func FuzzParseManifest(f *testing.F) {
	data, err := sampleManifest(f).Encode()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"version":1,"files":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		manifest, err := ParseManifest(data)
		if err != nil {
			return
		}
		encoded, err := manifest.Encode()
		require.NoError(t, err)
		again, err := ParseManifest(encoded)
		require.NoError(t, err)
		site, err := NewSite(again)
		if err != nil {
			require.Equal(t, models.CodeReleaseInvalid, models.CodeOf(err))
			return
		}
		for path := range again.Files {
			site.Plan(Request{Method: "GET", Path: encodePath(path)})
		}
	})
}
