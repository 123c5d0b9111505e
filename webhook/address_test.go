package webhook

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestRules_giveOneFormOfAnAddress(t *testing.T) {
	for given, want := range map[string]string{
		"https://example.com":                        "https://example.com/",
		"https://EXAMPLE.com:443/Hook?a=b":           "https://example.com/Hook?a=b",
		"https://bücher.example/x":                   "https://xn--bcher-kva.example/x",
		"https://example.com:0443/":                  "https://example.com/",
		"https://example.com:65535/":                 "https://example.com:65535/",
		"https://93.184.216.34/":                     "https://93.184.216.34/",
		"https://[2606:2800:220:1:248:1893:25c8:1]/": "https://[2606:2800:220:1:248:1893:25c8:1]/",
		"HTTPS://example.com/a%20b":                  "https://example.com/a%20b",
	} {
		got, problem := Rules{}.Check(models.WebhookStandard, given)
		require.Empty(t, problem, given)
		require.Equal(t, want, got)
		again, problem := Rules{}.Check(models.WebhookStandard, got)
		require.Empty(t, problem, got)
		require.Equal(t, got, again, "checking it again changes nothing")
	}
}

func TestRules_refuseWhatIsNotAPublicAddress(t *testing.T) {
	for _, given := range []string{
		"", " ", "example.com", "//example.com", "ftp://example.com", "http://example.com/", "https:example.com", "https://", "https:///x", "javascript:alert(1)",
		"https://user@example.com/", "https://user:secret@example.com/", "https://@example.com/", "https://example.com/#f", "https://example.com/#",
		"https://example.com:0/", "https://example.com:65536/", "https://example.com:-1/", "https://example.com:/", "https://example.com:8080:80/", "https://example.com:x/",
		"https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/", "https://ｌocalhost/",
		"https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://0x7f000001/", "https://2130706433/", "https://017700000001/", "https://127.0.0.1./", "https://①②⑦.0.0.1/",
		"https://0/", "https://0.0.0.0/", "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1/",
		"https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[fe80::1%25eth0]/", "https://[fd00::1]/", "https://[64:ff9b::7f00:1]/", "https://[::127.0.0.1]/",
		"https://example.com./", "https://exam ple.com/", "https://example.com\\@evil.example/", "https://example.com/\n", "https://example.com\x00/", "https://a..b/", "https://-a.example/", "https://a_b.example/",
		"https://" + strings.Repeat("a", 64) + ".example/", "https://example.com/" + strings.Repeat("a", MaxURLBytes),
	} {
		got, problem := Rules{}.Check(models.WebhookStandard, given)
		require.NotEmpty(t, problem, "%q became %q", given, got)
	}
}

func TestRules_exemptWhatTheOperatorNames(t *testing.T) {
	rules := Rules{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Refuse: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}}
	for given, want := range map[string]string{
		"http://127.0.0.1:8080/x":        "http://127.0.0.1:8080/x",
		"http://localhost:8080/":         "http://localhost:8080/",
		"https://[::ffff:127.0.0.1]:99/": "https://127.0.0.1:99/",
	} {
		got, problem := rules.Check(models.WebhookStandard, given)
		require.Empty(t, problem, given)
		require.Equal(t, want, got)
	}
	for _, given := range []string{"http://example.com/", "http://10.0.0.1/", "http://127.0.0.9/", "https://[::1]/"} {
		_, problem := rules.Check(models.WebhookStandard, given)
		require.NotEmpty(t, problem, given)
	}
	_, problem := Rules{AllowHTTP: true}.Check(models.WebhookStandard, "http://example.com/")
	require.Empty(t, problem)
	_, problem = Rules{AllowHTTP: true}.Check(models.WebhookStandard, "http://127.0.0.1/")
	require.NotEmpty(t, problem)
}

func TestRules_wantACommitInTheAddressOfCommitStatuses(t *testing.T) {
	const address = "https://api.github.com/repos/acme/shop/statuses/{sha}"
	got, problem := Rules{}.Check(models.WebhookGitHub, address)
	require.Empty(t, problem)
	require.Equal(t, address, got)
	for _, given := range []string{"https://api.github.com/repos/acme/shop/statuses/main", "https://api.github.com/?x=/{sha}", "https://{sha}.example/", "https://api.github.com{sha}/"} {
		_, problem := Rules{}.Check(models.WebhookGitHub, given)
		require.NotEmpty(t, problem, given)
	}
}

func TestShown_hidesWhatGivesAccess(t *testing.T) {
	require.Equal(t, "https://hooks.slack.com/…", Shown(models.WebhookSlack, "https://hooks.slack.com/services/T0/B0/secret"))
	require.Equal(t, "https://example.com/hook?…", Shown(models.WebhookStandard, "https://example.com/hook?token=secret"))
	require.Equal(t, "https://example.com/hook", Shown(models.WebhookStandard, "https://example.com/hook"))
}

func FuzzRules(f *testing.F) {
	for _, seed := range []string{"https://example.com/", "http://[::ffff:127.0.0.1]:80/", "https://0x7f.1/", "https://bücher.example:1/{sha}", "https://a@b/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		for _, format := range []models.WebhookFormat{models.WebhookStandard, models.WebhookGitHub} {
			got, problem := Rules{}.Check(format, given)
			if problem != "" {
				require.Empty(t, got)
				continue
			}
			u, err := url.Parse(got)
			require.NoError(t, err)
			require.Equal(t, "https", u.Scheme)
			require.Nil(t, u.User)
			if address, err := netip.ParseAddr(u.Hostname()); err == nil {
				require.True(t, address.IsGlobalUnicast() && !address.IsPrivate() && !address.Is4In6(), got)
			} else {
				require.Regexp(t, `^([a-z0-9-]+\.)*[a-z][a-z0-9-]*$`, u.Hostname())
			}
			again, problem := Rules{}.Check(format, got)
			require.Empty(t, problem, got)
			require.Equal(t, got, again)
		}
	})
}
