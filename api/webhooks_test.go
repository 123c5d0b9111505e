package api_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/webhook"
)

func (g *gateway) newWebhook(body map[string]any) api.NewWebhook {
	g.Helper()
	var hook api.NewWebhook
	got := g.do("POST", "/webhooks", body)
	got.into(http.StatusCreated, &hook)
	require.Equal(g, "/webhooks/"+hook.ID, got.header.Get("Location"))
	return hook
}

func TestWebhooks_areMadeSeenChangedAndRemoved(t *testing.T) {
	g := newGateway(t)
	made := g.newWebhook(map[string]any{"url": "https://Example.com/hook?key=hidden", "events": []string{"domain.*", "deployment.failed", "domain.*"}})
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, made.Secret)
	require.Equal(t, "https://example.com/hook?…", made.URL)
	require.Equal(t, []string{"deployment.failed", "domain.*"}, made.Events)
	require.Equal(t, models.WebhookStandard, made.Format)
	require.True(t, made.Enabled)
	second := g.newWebhook(map[string]any{"url": "https://hooks.slack.com/services/T0/B0/hidden", "format": "slack", "projectId": g.project.ID})
	require.Empty(t, second.Secret)
	require.Equal(t, "https://hooks.slack.com/…", second.URL)
	require.Equal(t, []string{"*"}, second.Events)

	got := g.do("GET", "/webhooks?limit=1", nil)
	var list api.WebhookList
	got.into(200, &list)
	require.Equal(t, second.ID, list.Items[0].ID)
	g.do("GET", "/webhooks?cursor="+list.NextCursor, nil).into(200, &list)
	require.Equal(t, made.ID, list.Items[0].ID)
	g.do("GET", "/webhooks?projectId="+g.project.ID, nil).into(200, &list)
	require.Len(t, list.Items, 1)
	for _, path := range []string{"/webhooks", "/webhooks/" + made.ID, "/webhooks/" + second.ID} {
		require.NotContains(t, string(g.do("GET", path, nil).body), "hidden")
		require.NotContains(t, string(g.do("GET", path, nil).body), "whsec_")
	}

	var changed api.Webhook
	g.do("PATCH", "/webhooks/"+made.ID, map[string]any{"enabled": false}).into(200, &changed)
	require.False(t, changed.Enabled)
	require.Equal(t, made.Events, changed.Events)
	require.Equal(t, made.URL, changed.URL)
	g.do("PATCH", "/webhooks/"+made.ID, map[string]any{"url": "https://example.org/", "events": []string{"*"}}).into(200, &changed)
	require.Equal(t, "https://example.org/", changed.URL)
	require.False(t, changed.Enabled)

	require.Equal(t, http.StatusNoContent, g.do("DELETE", "/webhooks/"+made.ID, nil).status)
	g.do("DELETE", "/webhooks/"+made.ID, nil).failed(models.CodeWebhookNotFound)
	g.do("GET", "/webhooks/"+made.ID, nil).failed(models.CodeWebhookNotFound)
	require.NotContains(t, g.log.String(), "hidden")
	require.NotContains(t, g.log.String(), made.Secret)
}

func TestWebhook_isChangedOnlyAsItWasSeen(t *testing.T) {
	g := newGateway(t)
	path := "/webhooks/" + g.newWebhook(map[string]any{"url": "https://example.com/"}).ID
	seen := g.do("GET", path, nil).header.Get("ETag")
	require.Equal(t, http.StatusNotModified, g.do("GET", path, nil, header{"If-None-Match": seen}).status)
	changed := g.do("PATCH", path, map[string]any{"events": []string{"domain.*"}}, header{"If-Match": seen})
	require.Equal(t, http.StatusOK, changed.status, "%s", changed.body)
	require.NotEqual(t, seen, changed.header.Get("ETag"))
	require.Equal(t, changed.header.Get("ETag"), g.do("GET", path, nil).header.Get("ETag"))
	g.do("PATCH", path, map[string]any{"enabled": false}, header{"If-Match": seen}).failed(models.CodePreconditionFailed)
	g.do("PATCH", path, map[string]any{"enabled": false}, header{"If-Match": "x"}).refuses("If-Match", "")
	g.do("PATCH", path, map[string]any{"url": ""}).refuses("url", "")
	require.Equal(t, http.StatusOK, g.do("PATCH", path, map[string]any{"enabled": false}, header{"If-Match": changed.header.Get("ETag")}).status)
	require.Equal(t, http.StatusOK, g.do("GET", path, nil, header{"If-None-Match": seen}).status)
}

func TestWebhooks_refuseWhatTheyCannotBe(t *testing.T) {
	g := newGateway(t)
	for _, address := range []string{
		"http://example.com/", "https://127.0.0.1/", "https://0x7f.1/", "https://[::ffff:127.0.0.1]/", "https://2130706433/", "https://localhost/",
		"https://user@example.com/", "https://example.com:0/", "https://169.254.169.254/", "nonsense",
	} {
		g.do("POST", "/webhooks", map[string]any{"url": address}).refuses("url", "must")
	}
	ok := "https://example.com/"
	g.do("POST", "/webhooks", map[string]any{"url": ok, "events": []string{"deployment.*", "x.*"}}).refuses("events", "no event")
	g.do("POST", "/webhooks", map[string]any{"url": ok, "events": []string{}}).refuses("events", "empty")
	g.do("POST", "/webhooks", map[string]any{"url": ok, "format": "xml"}).failed(models.CodeValidation)
	g.do("POST", "/webhooks", map[string]any{"url": ok, "token": "t"}).refuses("token", "github")
	g.do("POST", "/webhooks", map[string]any{"url": ok, "format": "github"}).refuses("url", "{sha}")
	g.do("POST", "/webhooks", map[string]any{"url": ok, "format": "github", "token": "a\nb"}).failed(models.CodeValidation)
	g.do("POST", "/webhooks", map[string]any{"url": "https://example.com/" + strings.Repeat("ü", 2000)}).failed(models.CodeValidation)
	g.do("POST", "/webhooks", map[string]any{"url": ok, "projectId": models.NewID(models.PrefixProject)}).failed(models.CodeProjectNotFound)
	for _, field := range []string{"id", "organizationId", "enabled", "secret", "sealed", "disabledReason"} {
		g.do("POST", "/webhooks", map[string]any{"url": ok, field: "x"}).failed(models.CodeValidation)
	}
	hook := g.newWebhook(map[string]any{"url": "https://api.github.com/repos/acme/shop/statuses/{sha}", "format": "github", "token": "hidden"})
	g.do("PATCH", "/webhooks/"+hook.ID, map[string]any{"url": ok}).refuses("url", "{sha}")
	g.do("POST", "/webhooks/"+hook.ID+"/rotate-secret", nil).failed(models.CodeConflict)
	g.do("POST", "/webhooks/"+hook.ID+"/test", nil).failed(models.CodeConflict)
	for _, id := range []string{"x", "whk_x", models.NewID(models.PrefixWebhook), "whk_" + strings.Repeat("a", 26) + "'--"} {
		g.do("GET", "/webhooks/"+id, nil).failed(models.CodeWebhookNotFound)
	}
}

// The token may write to repositories; whoever manages webhooks was never shown it.
func TestWebhooks_giveTheirTokenToNoOtherHost(t *testing.T) {
	g := newGateway(t)
	token := func(id string) string {
		row, err := g.store.Webhook(t.Context(), g.owner.OrganizationID, id)
		require.NoError(t, err)
		credentials, err := g.vault.Open(row)
		require.NoError(t, err)
		return credentials.Token
	}
	const address = "https://api.github.com/repos/acme/shop/statuses/{sha}"
	hook := g.newWebhook(map[string]any{"url": address, "format": "github", "token": "hidden"})
	path := "/webhooks/" + hook.ID
	for _, other := range []string{"https://example.com/{sha}", "https://api.github.com.example.com/{sha}", "https://api.github.com:8443/{sha}"} {
		g.do("PATCH", path, map[string]any{"url": other}).refuses("token", "given again")
	}
	g.do("PATCH", path, map[string]any{"url": strings.Replace(address, "shop", "store", 1)}).into(200, &api.Webhook{})
	require.Equal(t, "hidden", token(hook.ID))
	g.do("PATCH", path, map[string]any{"url": "https://github.example.com/{sha}", "token": "other"}).into(200, &api.Webhook{})
	require.Equal(t, "other", token(hook.ID))
	g.do("PATCH", path, map[string]any{"url": "https://example.com/{sha}", "token": ""}).into(200, &api.Webhook{})
	require.Empty(t, token(hook.ID))
}

func TestWebhooks_belongToTheirOrganization(t *testing.T) {
	g := newGateway(t)
	hook := g.newWebhook(map[string]any{"url": "https://example.com/"})
	var ping api.Delivery
	g.do("POST", "/webhooks/"+hook.ID+"/test", nil).into(http.StatusCreated, &ping)
	_, foreign := g.newOwner("foreign@example.com")
	as := header{"Authorization": "Bearer " + foreign}
	path := "/webhooks/" + hook.ID
	for _, call := range [][2]string{
		{"GET", path}, {"DELETE", path}, {"POST", path + "/rotate-secret"}, {"POST", path + "/test"}, {"GET", path + "/deliveries"},
		{"GET", path + "/deliveries/" + ping.ID}, {"POST", path + "/deliveries/" + ping.ID + "/redeliver"},
	} {
		g.do(call[0], call[1], nil, as).failed(models.CodeWebhookNotFound)
	}
	g.do("PATCH", path, map[string]any{"enabled": false}, as).failed(models.CodeWebhookNotFound)
	var list api.WebhookList
	g.do("GET", "/webhooks", nil, as).into(200, &list)
	require.Empty(t, list.Items)
	other := g.newWebhook(map[string]any{"url": "https://example.org/"})
	g.do("GET", "/webhooks/"+other.ID+"/deliveries/"+ping.ID, nil).failed(models.CodeDeliveryNotFound)
}

func TestWebhooks_replaceASecretAndKeepTheOneBeforeForADay(t *testing.T) {
	g := newGateway(t)
	made := g.newWebhook(map[string]any{"url": "https://example.com/"})
	var secret api.WebhookSecret
	g.do("POST", "/webhooks/"+made.ID+"/rotate-secret", nil).into(200, &secret)
	require.NotEqual(t, made.Secret, secret.Secret)
	require.WithinDuration(t, time.Now().Add(24*time.Hour), secret.PreviousValidUntil, time.Minute)
	row, err := g.store.Webhook(t.Context(), g.owner.OrganizationID, made.ID)
	require.NoError(t, err)
	credentials, err := g.vault.Open(row)
	require.NoError(t, err)
	require.Equal(t, made.Secret, credentials.Previous)
	require.Equal(t, secret.Secret, credentials.Secret)
	require.Equal(t, "https://example.com/", credentials.URL)
}

func TestDeliveries_areSeenAndSentAgain(t *testing.T) {
	g := newGateway(t)
	hook := g.newWebhook(map[string]any{"url": "https://example.com/"})
	path := "/webhooks/" + hook.ID
	var ping api.Delivery
	got := g.do("POST", path+"/test", nil)
	got.into(http.StatusCreated, &ping)
	require.Equal(t, path+"/deliveries/"+ping.ID, got.header.Get("Location"))
	require.Equal(t, models.EventPing, ping.Event)
	require.Equal(t, models.DeliveryPending, ping.Status)
	require.NoError(t, g.store.RecordAttempt(t.Context(), models.RecordedAttempt{
		Attempt:       models.Attempt{DeliveryID: ping.ID, Status: 500, DurationMS: 12, Answer: "no", Error: "The receiver answered 500 Internal Server Error."},
		DeliveryState: models.DeliveryState{Status: models.DeliveryFailed},
	}))
	var detail api.DeliveryDetail
	g.do("GET", path+"/deliveries/"+ping.ID, nil).into(200, &detail)
	require.Equal(t, models.DeliveryFailed, detail.Status)
	require.Equal(t, 500, detail.LastStatus)
	require.Equal(t, "ping", detail.Payload.Type)
	require.Equal(t, hook.ID, detail.Payload.Data["webhookId"])
	require.Equal(t, "no", detail.AttemptLog[0].Answer)
	require.Equal(t, int64(12), detail.AttemptLog[0].DurationMS)

	var again api.Delivery
	g.do("POST", path+"/deliveries/"+ping.ID+"/redeliver", nil).into(200, &again)
	require.Equal(t, models.DeliveryPending, again.Status)
	require.Nil(t, again.FinishedAt)
	require.Len(t, g.delivered, 2)
	require.Equal(t, ping.ID, g.delivered[1].ID)
	g.do("POST", path+"/deliveries/"+models.NewID(models.PrefixDelivery)+"/redeliver", nil).failed(models.CodeDeliveryNotFound)

	var list api.DeliveryList
	g.do("POST", path+"/test", nil)
	g.do("GET", path+"/deliveries?limit=1", nil).into(200, &list)
	require.NotEqual(t, ping.ID, list.Items[0].ID)
	g.do("GET", path+"/deliveries?cursor="+list.NextCursor, nil).into(200, &list)
	require.Equal(t, ping.ID, list.Items[0].ID)
	g.do("GET", path+"/deliveries?status=failed", nil).into(200, &list)
	require.Empty(t, list.Items)
	g.do("GET", path+"/deliveries?status=lost", nil).failed(models.CodeValidation)

	g.do("PATCH", path, map[string]any{"enabled": false})
	g.do("POST", path+"/test", nil).failed(models.CodeConflict)
	g.do("POST", path+"/deliveries/"+ping.ID+"/redeliver", nil).failed(models.CodeConflict)
}

func TestWebhooks_mayLeadToWhereTheOperatorAllows(t *testing.T) {
	g := newGateway(t, func(o *api.Options) {
		o.WebhookRules = webhook.Rules{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	})
	require.Equal(t, "http://127.0.0.1:9999/", g.newWebhook(map[string]any{"url": "http://127.0.0.1:9999"}).URL)
	g.do("POST", "/webhooks", map[string]any{"url": "http://10.0.0.1/"}).refuses("url", "public internet")
}

func TestWebhooks_areEnabledAgainWithoutTheirPast(t *testing.T) {
	g := newGateway(t)
	hook := g.newWebhook(map[string]any{"url": "https://example.com/"})
	_, err := g.store.ChangeWebhook(t.Context(), g.owner.OrganizationID, hook.ID, func(w *models.Webhook) error {
		at := time.Now().UTC().Add(-models.WebhookPatience)
		w.Enabled, w.DisabledReason, w.FailingSince = false, "No delivery has arrived.", &at
		return nil
	})
	require.NoError(t, err)
	var row api.Webhook
	g.do("GET", "/webhooks/"+hook.ID, nil).into(200, &row)
	require.NotEmpty(t, row.DisabledReason)
	require.NotNil(t, row.FailingSince)
	row = api.Webhook{}
	g.do("PATCH", "/webhooks/"+hook.ID, map[string]any{"enabled": true}).into(200, &row)
	require.True(t, row.Enabled)
	require.Empty(t, row.DisabledReason)
	require.Nil(t, row.FailingSince)
}

func TestDeploy_saysWhichCommitItIsOf(t *testing.T) {
	g := newGateway(t)
	const commit = "8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2"
	require.Contains(t, string(g.deploy(map[string]any{"commit": commit}).Input), commit)
	for _, wrong := range []string{"main", commit[1:], strings.ToUpper(commit), commit + "/../x"} {
		g.do("POST", "/deploy", g.deployBody(map[string]any{"commit": wrong})).failed(models.CodeValidation)
	}
}

// Whoever changed the installation's key could neither stop such a webhook nor mend it.
func TestWebhook_sealedWithAnotherKeyIsChangedAndMended(t *testing.T) {
	g := newGateway(t)
	lose := func(body map[string]any) api.NewWebhook {
		hook := g.newWebhook(body)
		key, err := seal.New(strings.Repeat("ab", seal.SecretBytes))
		require.NoError(t, err)
		sealed, err := webhook.NewVault(key).Seal(hook.ID, webhook.Credentials{URL: "https://example.com/", Secret: hook.Secret, Token: "hidden"})
		require.NoError(t, err)
		_, err = g.store.ChangeWebhook(t.Context(), g.project.OrganizationID, hook.ID, func(row *models.Webhook) error {
			row.Sealed = sealed
			return nil
		})
		require.NoError(t, err)
		return hook
	}
	opened := func(id string) webhook.Credentials {
		row, err := g.store.Webhook(t.Context(), g.project.OrganizationID, id)
		require.NoError(t, err)
		credentials, err := g.vault.Open(row)
		require.NoError(t, err)
		return credentials
	}
	var changed api.Webhook
	var secret api.WebhookSecret

	plain := lose(map[string]any{"url": "https://example.com/hook"})
	path := "/webhooks/" + plain.ID
	g.do("PATCH", path, map[string]any{"enabled": false, "events": []string{"domain.*"}}).into(200, &changed)
	require.False(t, changed.Enabled)
	require.Equal(t, []string{"domain.*"}, changed.Events)
	before := time.Now()
	g.do("POST", path+"/rotate-secret", nil).into(200, &secret)
	require.NotEqual(t, plain.Secret, secret.Secret)
	require.Less(t, secret.PreviousValidUntil.Sub(before), webhook.RotationTime/2, "the one before is lost")
	require.Equal(t, webhook.Credentials{URL: "https://example.com/hook", Secret: secret.Secret, PreviousUntil: opened(plain.ID).PreviousUntil}, opened(plain.ID))
	g.do("POST", path+"/rotate-secret", nil).into(200, &secret)
	require.NotEmpty(t, opened(plain.ID).Previous)

	queried := lose(map[string]any{"url": "https://example.com/hook?key=1"})
	path = "/webhooks/" + queried.ID
	g.do("POST", path+"/rotate-secret", nil).failed(models.CodeConflict)
	g.do("PATCH", path, map[string]any{"url": "https://example.com/hook?key=2"}).into(200, &changed)
	require.Equal(t, "https://example.com/hook?key=2", opened(queried.ID).URL)
	require.NotContains(t, []string{"", queried.Secret}, opened(queried.ID).Secret)
	g.do("POST", path+"/rotate-secret", nil).into(200, &secret)
	require.Equal(t, secret.Secret, opened(queried.ID).Secret)

	status := lose(map[string]any{"url": "https://api.github.com/repos/acme/shop/statuses/{sha}", "format": "github", "token": "hidden"})
	path = "/webhooks/" + status.ID
	g.do("PATCH", path, map[string]any{"enabled": false}).into(200, &changed)
	g.do("PATCH", path, map[string]any{"url": status.URL}).refuses("token", "does not open")
	g.do("PATCH", path, map[string]any{"token": "new"}).into(200, &changed)
	require.Equal(t, webhook.Credentials{URL: status.URL, Token: "new"}, opened(status.ID))

	chat := lose(map[string]any{"url": "https://hooks.slack.com/services/T0/B0/hidden", "format": "slack"})
	g.do("PATCH", "/webhooks/"+chat.ID, map[string]any{"token": ""}).refuses("url", "does not open")
	g.do("PATCH", "/webhooks/"+chat.ID, map[string]any{"url": "https://hooks.slack.com/services/T0/B0/new"}).into(200, &changed)
	require.Equal(t, webhook.Credentials{URL: "https://hooks.slack.com/services/T0/B0/new"}, opened(chat.ID))
	require.NotContains(t, g.log.String(), "hidden")
}
