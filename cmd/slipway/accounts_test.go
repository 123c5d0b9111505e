package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/dev"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

// newAccounts is a platform with rows and people, and nothing else.
func newAccounts(t *testing.T) *platform {
	t.Helper()
	c, err := config.Parse(map[string]string{"SLIPWAY_DATA_DIR": t.TempDir()})
	require.NoError(t, err)
	p := &platform{config: c, log: logrus.New()}
	p.log.SetOutput(io.Discard)
	p.store, err = models.OpenStore(models.StoreOptions{URL: pgtest.URL(t)})
	require.NoError(t, err)
	p.key, err = secretKey(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		if p.accounts != nil {
			p.accounts.Close()
		}
		require.NoError(t, p.store.Close())
	})
	require.NoError(t, p.store.Migrate(t.Context()))
	return p
}

// letsIn says whether somebody signs in with what the credentials hold.
func (p *platform) letsIn(t *testing.T, c dev.Credentials) bool {
	t.Helper()
	people, err := p.people()
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodPost, auth.Prefix+"sign-in/email", strings.NewReader(`{"email":"`+c.Email+`","password":"`+c.Password+`"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	people.Handler().ServeHTTP(w, r)
	return w.Code == http.StatusOK
}

func TestLogin_givesTheOwnerAPasswordAndKeepsIt(t *testing.T) {
	p := newAccounts(t)
	d := &devStack{platform: p}
	first, isFirst, err := d.login(t.Context())
	require.NoError(t, err)
	require.True(t, isFirst)
	require.Equal(t, ownerEmail, first.Email)
	require.True(t, p.letsIn(t, first))

	d.env.Previous = first
	again, isFirst, err := d.login(t.Context())
	require.NoError(t, err)
	require.False(t, isFirst)
	require.Equal(t, first, again)

	// Credentials of an earlier release have none; the token stays.
	d.env.Previous.Email, d.env.Previous.Password = "", ""
	given, _, err := d.login(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.Token, given.Token)
	require.NotEqual(t, first.Password, given.Password)
	require.True(t, p.letsIn(t, given))
}

func TestBootstrap_changesNoPassword(t *testing.T) {
	p := newAccounts(t)
	first, err := p.bootstrap(t.Context(), "Acme", "ops@acme.example")
	require.NoError(t, err)
	require.True(t, p.letsIn(t, first))
	again, err := p.bootstrap(t.Context(), "Acme", "ops@acme.example")
	require.NoError(t, err)
	require.Equal(t, first.UserID, again.UserID)
	require.Empty(t, again.Password)
	require.True(t, p.letsIn(t, first))
}
