package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestOrigins_letOnlyOwnAndTrustedPagesChangeThings(t *testing.T) {
	origins, err := NewOrigins([]string{"https://app.example.com"})
	require.NoError(t, err)
	for _, c := range []struct {
		name, method, origin, site string
		passes                     bool
	}{
		{"a page of ours", "POST", "http://slipway.example.com", "same-origin", true},
		{"a page of ours in an old browser", "POST", "http://slipway.example.com", "", true},
		{"the address bar", "POST", "", "none", true},
		{"a trusted page", "DELETE", "https://app.example.com", "cross-site", true},
		{"a tenant on a sibling host", "POST", "http://shop.example.com", "same-site", false},
		{"a tenant on a sibling host in an old browser", "POST", "http://shop.example.com", "", false},
		{"another site", "PATCH", "https://evil.example", "cross-site", false},
		{"a sandboxed page", "POST", "null", "cross-site", false},
		{"a trusted name with another scheme", "POST", "http://app.example.com", "cross-site", false},
		{"somebody who does not say", "PUT", "", "", false},
		{"a link", "GET", "", "cross-site", true},
	} {
		r := httptest.NewRequest(c.method, "http://slipway.example.com/x", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		err := origins.Check(r)
		if c.passes {
			require.NoError(t, err, c.name)
			continue
		}
		require.Equal(t, models.CodeCrossSite, models.CodeOf(err), c.name)
		require.Equal(t, http.StatusForbidden, models.CodeOf(err).HTTPStatus())
	}
}

func TestOrigins_trustEveryPortOnlyWhereToldSo(t *testing.T) {
	origins, err := NewOrigins(append(LocalOrigins(), "https://app.example.com"))
	require.NoError(t, err)
	for _, origin := range []string{"http://localhost:1", "http://localhost", "http://127.0.0.1:65535", "http://[::1]:3000", "https://app.example.com"} {
		require.True(t, origins.Trusts(origin), origin)
		r := httptest.NewRequest("POST", "http://localhost:3008/x", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", "same-site")
		require.NoError(t, origins.Check(r), origin)
	}
	for _, origin := range []string{
		"", "null", "*", ":*", "http://localhost:", "http://localhost:*", "http://localhost:65536", "http://localhost:-1", "http://localhost:3000/x",
		"http://shop.localhost:3005", "https://localhost:3000", "https://app.example.com:8443", "http://localhost:80:80", "http://localhost: 80",
	} {
		require.False(t, origins.Trusts(origin), origin)
	}
}
