package auth

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// confirming is a service where addresses are confirmed by mail.
func confirming(t *testing.T) *service {
	return newService(t, func(o *Options) { o.ConfirmEmail = true })
}

// ask signs up, and gives the token of the mailed link by following it.
func (b *browser) ask(email, password string) (token string) {
	b.Helper()
	var shown signedUp
	b.post("sign-up/email", map[string]any{"email": email, "password": password, "name": "Ada Lovelace"}).decode(b, &shown)
	require.Nil(b, shown.Token)
	sent := b.lettersTo(email)
	return b.follow(b.linkIn(sent[len(sent)-1])).Get("confirmationToken")
}

// follow gives what a mailed link to confirm an address leads on with.
func (b *browser) follow(link string) url.Values {
	b.Helper()
	to, err := url.Parse(b.arrive(link))
	require.NoError(b, err)
	require.Equal(b, signInPage, to.Path)
	return to.Query()
}

func (b *browser) confirm(email, password, token string) answer {
	b.Helper()
	return b.post("sign-in/email", map[string]any{"email": email, "password": password, "confirmationToken": token})
}

// Mallory signs up with Ada's address, and Ada follows the letter she did not ask
// for: that made an account with a proven address and Mallory's password.
func TestConfirm_aFollowedLinkMakesNoAccountForWhoSignedUpWithAnothersAddress(t *testing.T) {
	s := confirming(t)
	mallory, ada := s.browser(), s.browser()
	mallory.ask("ada@example.com", "the password of Mallory")
	letter := s.lettersTo("ada@example.com")[0]
	token := ada.follow(s.linkIn(letter)).Get("confirmationToken")
	require.NotEmpty(t, token)
	_, _, found, err := s.store.UserByEmail(t.Context(), "ada@example.com")
	require.NoError(t, err)
	require.False(t, found, "a link alone makes no account")

	// Ada signs in as she would, and as Mallory never does: without his password.
	require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", ada.confirm("ada@example.com", goodPassword, token).code(t))
	// Mallory knows the password and not the token.
	for _, guess := range []string{"", "x", token[1:]} {
		require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", mallory.confirm("ada@example.com", "the password of Mallory", guess).code(t))
	}
	// Nor does he get further with the token of a sign-up of his own.
	own := mallory.ask("mallory@example.com", "the password of Mallory")
	require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", mallory.confirm("ada@example.com", "the password of Mallory", own).code(t))

	// Ada makes her account by her own letter, and Mallory's sign-up is worth nothing then.
	require.Equal(t, http.StatusOK, ada.confirm("ada@example.com", goodPassword, ada.ask("ada@example.com", goodPassword)).StatusCode)
	require.True(t, ada.me().User.EmailVerified)
	require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", mallory.confirm("ada@example.com", "the password of Mallory", token).code(t))
	require.Nil(t, mallory.me())
}

func TestConfirm_takesTheLinkAndThePasswordOnAnyDevice(t *testing.T) {
	s := confirming(t)
	laptop, phone := s.browser(), s.browser()
	token := laptop.ask("ada@example.com", goodPassword)
	// Programs that look into letters follow links, and spend nothing.
	link := s.linkIn(s.lettersTo("ada@example.com")[0])
	for range 3 {
		require.Equal(t, token, s.browser().follow(link).Get("confirmationToken"))
	}
	require.Equal(t, http.StatusOK, phone.confirm("Ada@Example.com", goodPassword, token).StatusCode)
	require.Equal(t, "Ada Lovelace", phone.me().User.Name)
	require.Equal(t, "INVALID_TOKEN", laptop.follow(link).Get("error"))
	// Where there is an account the token changes nothing.
	require.Equal(t, http.StatusOK, laptop.confirm("ada@example.com", goodPassword, token).StatusCode)
	require.Equal(t, http.StatusOK, laptop.signIn("ada@example.com", goodPassword).StatusCode)
	require.Equal(t, phone.me().User.ID, laptop.me().User.ID)
	require.Equal(t, "Welcome to Slipway", s.lettersTo("ada@example.com")[1].Subject)
}

func TestConfirm_atOnceMakesOneAccount(t *testing.T) {
	s := confirming(t)
	token := s.browser().ask("ada@example.com", goodPassword)
	var wg sync.WaitGroup
	codes := make([]int, 6)
	for i := range codes {
		wg.Go(func() { codes[i] = s.browser().confirm("ada@example.com", goodPassword, token).StatusCode })
	}
	wg.Wait()
	for _, code := range codes {
		require.Equal(t, http.StatusOK, code)
	}
}

// An account that the address got otherwise while the sign-up's password was
// checked has a password of its own.
func TestConfirm_signsNobodyInToAnAccountWithAnotherPassword(t *testing.T) {
	s := confirming(t)
	first := s.browser().ask("ada@example.com", goodPassword)
	second := s.browser().ask("ada@example.com", goodPassword+" again")
	var wg sync.WaitGroup
	results := make([]answer, 2)
	wg.Go(func() { results[0] = s.browser().confirm("ada@example.com", goodPassword, first) })
	wg.Go(func() { results[1] = s.browser().confirm("ada@example.com", goodPassword+" again", second) })
	wg.Wait()
	codes := []int{results[0].StatusCode, results[1].StatusCode}
	slices.Sort(codes)
	require.Equal(t, []int{http.StatusOK, http.StatusUnauthorized}, codes)
}

func TestConfirm_endsWithTime(t *testing.T) {
	s := confirming(t)
	b := s.browser()
	token := b.ask("ada@example.com", goodPassword)
	s.exec("UPDATE verifications SET expires_at = now()")
	require.Equal(t, "INVALID_TOKEN", b.follow(s.linkIn(s.lettersTo("ada@example.com")[0])).Get("error"))
	require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", b.confirm("ada@example.com", goodPassword, token).code(t))
}

// A token, of use or not, tells nobody who has an account: one hash, one answer.
func TestConfirm_answersAlikeWhetherThereIsAnAccount(t *testing.T) {
	s := confirming(t)
	there := s.browser()
	require.Equal(t, http.StatusOK, there.confirm("there@example.com", goodPassword, there.ask("there@example.com", goodPassword)).StatusCode)
	token := s.browser().ask("ada@example.com", goodPassword)
	var first answer
	for _, email := range []string{"there@example.com", "ada@example.com", "nobody@example.com"} {
		for _, token := range []string{token, "unknown", ""} {
			var got answer
			require.EqualValues(t, 1, s.cost(func() { got = s.browser().confirm(email, "not the password", token) }))
			require.Equal(t, http.StatusUnauthorized, got.StatusCode)
			if first.Response == nil {
				first = got
			}
			require.Equal(t, first.body, got.body)
			require.Equal(t, first.Header.Values("Set-Cookie"), got.Header.Values("Set-Cookie"))
		}
	}
}
