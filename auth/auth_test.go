package auth

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestSignUp_makesAPersonWithAnOrganizationTheyOwn(t *testing.T) {
	s := newService(t)
	b := s.browser()
	user := b.signUp(" Ada@Example.COM ")
	require.Equal(t, "ada@example.com", user.Email)
	require.False(t, user.EmailVerified)
	me := b.me()
	require.NotNil(t, me)
	require.Equal(t, user.ID, me.User.ID)
	require.Equal(t, "a browser", me.Session.UserAgent)
	require.Equal(t, "127.0.0.1", me.Session.IPAddress)
	member, err := s.store.MembershipOf(t.Context(), user.ID, "", "")
	require.NoError(t, err)
	require.Equal(t, models.RoleOwner, member.Role)
	org, err := s.store.Organization(t.Context(), member.OrganizationID)
	require.NoError(t, err)
	require.Equal(t, "Ada Lovelace", org.Name)
	require.Len(t, s.lettersTo("ada@example.com"), 1)
}

func TestSession_endsWhenItsPersonSignsOut(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.signUp("ada@example.com")
	require.Equal(t, http.StatusOK, b.post("sign-out", nil).StatusCode)
	require.Nil(t, b.me())
	require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", b.signIn("ada@example.com", "wrong password").code(t))
	require.Equal(t, http.StatusOK, b.signIn("ADA@example.com", goodPassword).StatusCode)
	require.NotNil(t, b.me())
}
