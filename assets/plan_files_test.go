package assets

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlan_filesOnlyLeavesTheRestToTheWorker(t *testing.T) {
	for _, handling := range []NotFoundHandling{NotFoundNone, NotFoundPage, NotFoundSPA} {
		builder, err := NewBuilder(Config{NotFoundHandling: handling})
		require.NoError(t, err)
		for _, path := range []string{"/index.html", "/about.html", "/404.html"} {
			require.NoError(t, builder.Add(path, File{Digest: digestOf(path), Size: 4, ContentType: "text/html"}))
		}
		rules, warnings := ParseRedirects([]byte("/old /about 301\n"), AutoTrailingSlash)
		require.Empty(t, warnings)
		builder.SetRedirects(rules)
		manifest, err := builder.Build()
		require.NoError(t, err)
		site, err := NewSite(manifest)
		require.NoError(t, err)
		for path, status := range map[string]int{"/": 200, "/about": 200, "/about.html": 307, "/old": 301, "/404": 200} {
			answer := site.Plan(Request{Method: http.MethodGet, Path: path, FilesOnly: true})
			require.Equal(t, status, answer.Status, "%s %s", handling, path)
			require.False(t, answer.Missing, "%s %s", handling, path)
		}
		for _, path := range []string{"/api", "/about/more", "/%zz", "/x/"} {
			answer := site.Plan(Request{Method: http.MethodGet, Path: path, FilesOnly: true})
			require.True(t, answer.Missing, "%s %s", handling, path)
			require.Empty(t, answer.Body.Digest)
		}
	}
}
