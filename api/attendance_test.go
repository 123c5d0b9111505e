package api_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// Whoever loses access loses it in the streams they have open, too.
func TestLogStreams_endForWhomMayFollowNoLonger(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	for name, lose := range map[string]func(token models.Token, user models.User){
		"token revoked": func(token models.Token, _ models.User) {
			require.Equal(t, 204, g.do("DELETE", "/tokens/"+token.ID, nil).status)
		},
		"member removed": func(_ models.Token, user models.User) {
			require.Equal(t, 204, g.do("DELETE", "/orgs/"+g.owner.OrganizationID+"/members/"+user.ID, nil).status)
		},
	} {
		for _, path := range []string{"/deployments/" + row.ID + "/logs/stream", "/projects/" + g.project.ID + "/logs/stream"} {
			user, err := g.store.CreateUser(t.Context(), models.NewUser{Email: models.NewSecret("") + "@example.com", ProviderID: models.ProviderCredential, OrganizationName: "Own"})
			require.NoError(t, err)
			_, secret, err := g.store.Invite(t.Context(), g.owner.OrganizationID, g.owner.UserID, user.Email, models.RoleDeveloper)
			require.NoError(t, err)
			_, err = g.store.AcceptInvitation(t.Context(), user.ID, secret)
			require.NoError(t, err)
			token, secret, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: user.ID, Name: "short-lived"})
			require.NoError(t, err)

			request, err := http.NewRequestWithContext(t.Context(), "GET", g.http.URL+path, nil)
			require.NoError(t, err)
			request.Header.Set("Authorization", "Bearer "+secret)
			response, err := g.http.Client().Do(request)
			require.NoError(t, err)
			require.Equal(t, 200, response.StatusCode)
			lines := bufio.NewScanner(response.Body)
			require.True(t, lines.Scan())
			require.True(t, strings.HasPrefix(lines.Text(), "retry"))
			lose(token, user)
			over := make(chan struct{})
			go func() {
				defer close(over)
				for lines.Scan() {
				}
			}()
			select {
			case <-over:
			case <-time.After(patience):
				t.Errorf("%s: %s goes on", name, path)
			}
			response.Body.Close()
			<-over
		}
	}
}
