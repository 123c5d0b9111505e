package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/tools/apifuzz"
)

// signedIn is a gateway's Sessions in which one cookie is one person's.
type signedIn struct{ identity models.Identity }

const testCookie = "better-auth.session_token=of-the-owner"

func (s *signedIn) Session(r *http.Request) (models.Identity, bool, error) {
	return s.identity, strings.HasPrefix(r.Header.Get("Cookie"), testCookie), nil
}

// mailTaken takes mails and sends none.
type mailTaken struct{}

func (mailTaken) SendInvitation(context.Context, api.InvitationMail) error { return nil }

// TestSpec_answersToRequestsMadeOfTheDocumentKeepIt sends thousands of requests that the
// OpenAPI document makes one think of, right ones and broken ones, to a gateway that has
// one of everything. SPECFUZZ_SEED repeats a run, SPECFUZZ_REQUESTS makes it longer.
func TestSpec_answersToRequestsMadeOfTheDocumentKeepIt(t *testing.T) {
	sessions := &signedIn{}
	g := newGateway(t, withAccounts(t, &postbox{}), func(o *api.Options) {
		o.Temporal = temporalClient(t, temporaltest.Start(t))
		o.Sessions = sessions
		o.Mail = mailTaken{}
	})
	sessions.identity = models.Identity{UserID: g.owner.UserID, OrganizationID: g.owner.OrganizationID, SessionID: "ses_3kq5q2n7d4v6x2y7z3a4b5c6d7"}
	foreign, foreignToken := g.newOwner("foreign@example.com")
	stranger, err := g.store.CreateProject(t.Context(), foreign.OrganizationID, "Theirs", "theirs")
	require.NoError(t, err)
	g.goLive(g.deploy(nil))
	g.goLive(g.deploy(nil))
	g.candidate()
	for range 5 {
		g.record(g.deploy(nil).ID, 2, parked)
	}
	caller, err := g.store.Authenticate(t.Context(), g.token)
	require.NoError(t, err)
	own := g.own(g.project, "shop.example.com")
	// Below /api/auth the sessions are another person's, and one for each request, as
	// some of them end it.
	user := g.signUp("grace@example.com").id
	client := *g.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	seed, requests := uint64(1), specRequests
	if s := os.Getenv("SPECFUZZ_SEED"); s != "" {
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	if s := os.Getenv("SPECFUZZ_REQUESTS"); s != "" {
		requests, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	t.Logf("SPECFUZZ_SEED=%d", seed)
	before := len(g.log.String())
	report, err := apifuzz.Run(t.Context(), apifuzz.Options{
		URL: g.http.URL, Document: g.do("GET", "/openapi.json", nil).body, Seed: seed, Requests: requests,
		Credentials: map[string]func(http.Header){
			"bearer": func(h http.Header) { h.Set("Authorization", "Bearer "+g.token) },
			"session": func(h http.Header) {
				h.Set("Cookie", testCookie+"; "+g.newSession(user))
				h.Set("Origin", g.http.URL)
			},
		},
		Places: []string{
			"/projects/" + g.project.ID, "/projects/" + g.project.ID + "/domains/" + own.Host, "/orgs/" + g.owner.OrganizationID,
			"/orgs/" + g.owner.OrganizationID + "/members/" + g.owner.UserID,
		},
		Keep:    []string{g.owner.OrganizationID, g.owner.UserID, caller.TokenID, g.project.ID, own.ID},
		Spare:   []string{"delete-organization", "transfer-project", "revoke-token", "change-member", "remove-member"},
		Secrets: []string{g.token, foreignToken},
		Client:  &client,
	})
	require.NoError(t, err)
	t.Logf("%d requests", report.Requests)
	for id, statuses := range report.Statuses {
		t.Logf("%-28s %v", id, statuses)
		if !reaches(statuses) {
			t.Logf("%-28s never succeeded", id)
		}
	}
	assert.Empty(t, strings.Join(report.Problems, "\n"))

	for _, line := range strings.Split(strings.TrimSpace(g.log.String()[before:]), "\n") {
		var entry map[string]any
		if !assert.NoError(t, json.Unmarshal([]byte(line), &entry), line) {
			break
		}
		assert.NotContains(t, line, g.token)
		if entry["level"] == "error" {
			t.Errorf("the log has an error: %s", line)
			break
		}
	}
	after, err := g.store.Project(t.Context(), foreign.OrganizationID, stranger.ID)
	require.NoError(t, err)
	require.Equal(t, stranger.Name, after.Name)
}

// reaches says that some request got what it asked for.
func reaches(statuses map[int]int) bool {
	for status := range statuses {
		if status < 400 {
			return true
		}
	}
	return false
}
