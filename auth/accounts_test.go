package auth

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// cost is how many hashes f takes.
func (s *service) cost(f func()) int64 {
	before := s.auth.passwords.runs.Load()
	f()
	return s.auth.passwords.runs.Load() - before
}

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

func TestSignUp_ofOneAddressAtOnceMakesOnePerson(t *testing.T) {
	s := newService(t)
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		b := s.browser()
		wg.Go(func() {
			email := []string{"ada@example.com", "ADA@example.com", " ada@EXAMPLE.com"}[i%3]
			codes[i] = b.post("sign-up/email", map[string]any{"email": email, "password": goodPassword, "name": "Ada"}).StatusCode
		})
	}
	wg.Wait()
	made := 0
	for _, code := range codes {
		if code == http.StatusOK {
			made++
			continue
		}
		require.Equal(t, http.StatusUnprocessableEntity, code)
	}
	require.Equal(t, 1, made)
}

func TestSignUp_isForWhoTheOperatorSays(t *testing.T) {
	body := map[string]any{"email": "ada@example.com", "password": goodPassword, "name": "Ada"}
	closed := newService(t, func(o *Options) { o.SignUp = SignUpClosed })
	require.Equal(t, "EMAIL_PASSWORD_SIGN_UP_DISABLED", closed.browser().post("sign-up/email", body).code(t))

	s := newService(t, func(o *Options) { o.SignUp = "" })
	require.Equal(t, "SIGN_UP_BY_INVITATION", s.browser().post("sign-up/email", body).code(t))
	s.invite("ada@example.com")
	b := s.browser()
	require.Equal(t, http.StatusOK, b.post("sign-up/email", body).StatusCode)
	require.NotNil(t, b.me())
}

func TestSignUp_thatIsConfirmedTellsNobodyWhoHasAnAccount(t *testing.T) {
	s := newService(t, func(o *Options) { o.ConfirmEmail = true })
	body := func(password string) map[string]any {
		return map[string]any{"email": "ada@example.com", "password": password, "name": "Ada", "callbackURL": "/app/hello"}
	}
	shape := func(res answer) (shown signedUp) {
		res.decode(t, &shown)
		require.True(t, models.ValidID(models.PrefixUser, shown.User.ID))
		require.Empty(t, res.Cookies())
		shown.User.ID, shown.User.CreatedAt, shown.User.UpdatedAt = "", "", ""
		return shown
	}
	b := s.browser()
	var fresh, taken signedUp
	require.EqualValues(t, 1, s.cost(func() { fresh = shape(b.post("sign-up/email", body(goodPassword))) }))
	require.Nil(t, b.me())
	// There is no account before the link was followed and the password shown.
	require.Equal(t, "INVALID_EMAIL_OR_PASSWORD", b.signIn("ada@example.com", goodPassword).code(t))

	onward := b.follow(s.linkIn(s.lettersTo("ada@example.com")[0]))
	require.Equal(t, "/app/hello", onward.Get("callbackURL"))
	require.Nil(t, b.me(), "a link signs nobody in")
	require.Equal(t, http.StatusOK, b.confirm("ada@example.com", goodPassword, onward.Get("confirmationToken")).StatusCode)
	require.True(t, b.me().User.EmailVerified)

	// An address that has an account is answered alike, and its person is told.
	require.EqualValues(t, 1, s.cost(func() { taken = shape(s.browser().post("sign-up/email", body("another password"))) }))
	require.Equal(t, fresh, taken)
	sent := s.lettersTo("ada@example.com")
	last := sent[len(sent)-1]
	require.Equal(t, "You have a Slipway account", last.Subject)
	require.True(t, strings.HasPrefix(b.arrive(s.linkIn(last)), "/app/reset-password?token="))
	require.Equal(t, http.StatusOK, b.signIn("ada@example.com", goodPassword).StatusCode)
}

func TestSignUp_withTheTokenOfAnInvitationNeedsNoFurtherMail(t *testing.T) {
	s := newService(t, func(o *Options) { o.ConfirmEmail, o.SignUp = true, SignUpInvited })
	owner, err := s.store.EnsureOwner(t.Context(), "Host", "host@example.com")
	require.NoError(t, err)
	_, secret, err := s.store.Invite(t.Context(), owner.OrganizationID, owner.UserID, "ada@example.com", models.RoleViewer)
	require.NoError(t, err)
	signUp := func(b *browser, email, token string) answer {
		return b.post("sign-up/email", map[string]any{"email": email, "password": goodPassword, "name": "Ada", "invitationToken": token})
	}
	b := s.browser()
	require.Equal(t, "SIGN_UP_BY_INVITATION", signUp(b, "eve@example.com", secret).code(t))
	var shown signedUp
	signUp(b, "ada@example.com", "another").decode(t, &shown)
	require.Nil(t, shown.Token)
	require.Nil(t, b.me())
	signUp(b, "ada@example.com", secret).decode(t, &shown)
	require.NotNil(t, shown.Token)
	require.True(t, b.me().User.EmailVerified)
	_, err = s.store.AcceptInvitation(t.Context(), shown.User.ID, secret)
	require.NoError(t, err)
}

func TestSignIn_answersAlikeWhetherThereIsAnAccount(t *testing.T) {
	s := newService(t)
	s.browser().signUp("ada@example.com")
	_, err := s.store.CreateUser(t.Context(), models.NewUser{Email: "hub@example.com", ProviderID: models.ProviderGitHub, AccountID: "1", OrganizationName: "A"})
	require.NoError(t, err)
	var answers []answer
	for _, email := range []string{"ada@example.com", "nobody@example.com", "hub@example.com"} {
		require.EqualValues(t, 1, s.cost(func() { answers = append(answers, s.browser().signIn(email, "not the password")) }), email)
	}
	for _, a := range answers {
		require.Equal(t, http.StatusUnauthorized, a.StatusCode)
		require.Equal(t, answers[0].body, a.body)
		require.Equal(t, answers[0].Header.Values("Set-Cookie"), a.Header.Values("Set-Cookie"))
	}
	// Nor does the password that nobody has open anything.
	require.Equal(t, http.StatusUnauthorized, s.browser().signIn("nobody@example.com", "nobody has this password").StatusCode)
}

func TestSignIn_keepsPasswordsAtTodaysCost(t *testing.T) {
	s := newService(t)
	b := s.browser()
	user := b.signUp("ada@example.com")
	cheap, err := argon2id.CreateHash(goodPassword, &argon2id.Params{Memory: 32, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	require.NoError(t, err)
	require.NoError(t, s.store.SetPassword(t.Context(), user.ID, cheap))
	require.Equal(t, http.StatusOK, b.signIn("ada@example.com", goodPassword).StatusCode)
	hash, err := s.store.PasswordHash(t.Context(), user.ID)
	require.NoError(t, err)
	require.Contains(t, hash, "m=64,t=1,p=1")
	require.Equal(t, http.StatusOK, b.signIn("ada@example.com", goodPassword).StatusCode)
}

func TestPassword_lengthsAndSpellings(t *testing.T) {
	s := newService(t)
	b := s.browser()
	try := func(password string) string {
		res := b.post("sign-up/email", map[string]any{"email": models.NewID("x") + "@example.com", "password": password, "name": "x"})
		if res.StatusCode == http.StatusOK {
			return ""
		}
		return res.code(t)
	}
	require.Equal(t, "PASSWORD_TOO_SHORT", try(""))
	require.Equal(t, "PASSWORD_TOO_SHORT", try("1234567"))
	require.Equal(t, "", try("12345678"))
	require.Equal(t, "", try(strings.Repeat("ä", 128)))
	require.Equal(t, "PASSWORD_TOO_LONG", try(strings.Repeat("a", 129)))
	require.Equal(t, "PASSWORD_TOO_LONG", try(strings.Repeat("a", 60_000)))

	// One password, however a keyboard composes it.
	require.Equal(t, http.StatusOK, b.post("sign-up/email", map[string]any{"email": "zoe@example.com", "password": "caf\u00e9 caf\u00e9", "name": "Zoe"}).StatusCode)
	require.Equal(t, http.StatusOK, b.signIn("zoe@example.com", "cafe\u0301 cafe\u0301").StatusCode)
	for _, password := range []string{"", strings.Repeat("a", 400)} {
		require.Equal(t, http.StatusUnauthorized, b.signIn("zoe@example.com", password).StatusCode)
	}
	require.Equal(t, "PASSWORD_TOO_LONG", b.signIn("zoe@example.com", strings.Repeat("a", 600)).code(t))
}

func TestReset_answersAlikeAndWorksOnce(t *testing.T) {
	s := newService(t)
	b := s.browser()
	user := b.signUp("ada@example.com")
	require.NoError(t, s.store.SetPassword(t.Context(), user.ID, mustHash(t, "the old password")))

	there := b.post("request-password-reset", map[string]any{"email": "ada@example.com"})
	elsewhere := b.post("forget-password", map[string]any{"email": "nobody@example.com"})
	require.Equal(t, there.StatusCode, elsewhere.StatusCode)
	require.Equal(t, there.body, elsewhere.body)
	require.Empty(t, s.lettersTo("nobody@example.com"))
	sent := s.lettersTo("ada@example.com")
	link := s.linkIn(sent[len(sent)-1])
	require.Equal(t, "/app/reset-password?error=INVALID_TOKEN", b.arrive(link[:strings.Index(link, "?")-1]+"?callbackURL=%2Fapp%2Freset-password"))
	_, token, _ := strings.Cut(b.arrive(link), "token=")

	// Ten at once: one wins.
	codes := make(chan int, 10)
	for range cap(codes) {
		go func() {
			codes <- s.browser().post("reset-password", map[string]any{"newPassword": "the new password", "token": token}).StatusCode
		}()
	}
	won := 0
	for range cap(codes) {
		if <-codes == http.StatusOK {
			won++
		}
	}
	require.Equal(t, 1, won)
	require.Nil(t, b.me(), "a reset ends every session")
	require.Equal(t, http.StatusUnauthorized, b.signIn("ada@example.com", "the old password").StatusCode)
	require.Equal(t, http.StatusOK, b.signIn("ada@example.com", "the new password").StatusCode)
	for _, token := range []string{token, "", "x", strings.Repeat("x", 50_000), "\x00"} {
		require.Equal(t, "INVALID_TOKEN", b.post("reset-password", map[string]any{"newPassword": "the new password", "token": token}).code(t))
	}
}

func TestReset_linksEndWithTimeAndWithAChange(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.signUp("ada@example.com")
	ask := func() string {
		b.post("request-password-reset", map[string]any{"email": "ada@example.com"})
		sent := s.lettersTo("ada@example.com")
		_, token, _ := strings.Cut(b.arrive(s.linkIn(sent[len(sent)-1])), "token=")
		return token
	}
	late := ask()
	s.exec("UPDATE verifications SET expires_at = now()")
	require.Equal(t, "INVALID_TOKEN", b.post("reset-password", map[string]any{"newPassword": "the new password", "token": late}).code(t))
	asked := ask()
	require.Equal(t, http.StatusOK, b.post("change-password", map[string]any{"currentPassword": goodPassword, "newPassword": "the new password"}).StatusCode)
	require.NotNil(t, b.me())
	require.Equal(t, "INVALID_TOKEN", b.post("reset-password", map[string]any{"newPassword": "the newer password", "token": asked}).code(t))
}

func TestUpdateUser_changesNameAndPictureAlone(t *testing.T) {
	s := newService(t)
	b := s.browser()
	user := b.signUp("ada@example.com")
	for _, c := range []struct {
		body string
		code string
	}{
		{`{"email":"eve@example.com"}`, "EMAIL_CAN_NOT_BE_UPDATED"},
		{`{}`, "NO_FIELDS_TO_UPDATE"},
		{`{"emailVerified":true,"id":"usr_x","role":"owner"}`, "NO_FIELDS_TO_UPDATE"},
		{`{"name":"two\nlines"}`, "VALIDATION_ERROR"},
		{`{"name":"right\u202eleft"}`, "VALIDATION_ERROR"},
		{`{"name":"nul\u0000"}`, "VALIDATION_ERROR"},
		{`{"name":7}`, "VALIDATION_ERROR"},
		{`{"image":"javascript:alert(1)"}`, "VALIDATION_ERROR"},
		{`{"image":7}`, "VALIDATION_ERROR"},
		{`[]`, "VALIDATION_ERROR"},
		{`null`, "VALIDATION_ERROR"},
		{`{`, "VALIDATION_ERROR"},
	} {
		require.Equal(t, c.code, b.post("update-user", c.body).code(t), c.body)
	}
	require.Equal(t, http.StatusOK, b.post("update-user", `{"name":"  Ada 👩‍💻 ","image":"https://example.com/ada.png","emailVerified":true}`).StatusCode)
	me := b.me()
	require.Equal(t, "Ada 👩‍💻", me.User.Name)
	require.False(t, me.User.EmailVerified)
	require.Equal(t, user.ID, me.User.ID)
	require.Equal(t, http.StatusOK, b.post("update-user", `{"image":null}`).StatusCode)
	require.Nil(t, b.me().User.Image)
}

func TestGivePassword_letsTheOwnerIn(t *testing.T) {
	s := newService(t)
	owner, err := s.store.EnsureOwner(t.Context(), "Default", "owner@localhost")
	require.NoError(t, err)
	password, err := s.auth.GivePassword(t.Context(), owner.UserID)
	require.NoError(t, err)
	b := s.browser()
	require.Equal(t, http.StatusOK, b.signIn("owner@localhost", password).StatusCode)
	require.Equal(t, owner.UserID, b.me().User.ID)
}

func TestLog_holdsNoSecrets(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.signUp("ada@example.com")
	b.signIn("ada@example.com", "a wrong one: hunter2")
	var in signedUp
	b.signIn("ada@example.com", goodPassword).decode(t, &in)
	b.post("request-password-reset", map[string]any{"email": "ada@example.com"})
	sent := s.lettersTo("ada@example.com")
	_, token, _ := strings.Cut(b.arrive(s.linkIn(sent[len(sent)-1])), "token=")
	b.post("reset-password", map[string]any{"newPassword": goodPassword, "token": token})
	s.store.Close()
	b.signIn("ada@example.com", goodPassword)
	require.Equal(t, http.StatusServiceUnavailable, b.get("get-session").StatusCode)
	log := s.log.String()
	require.NotEmpty(t, log)
	for _, secret := range []string{goodPassword, "hunter2", *in.Token, token, "ada@example.com"} {
		require.NotContains(t, log, secret)
	}
}

func mustHash(t *testing.T, password string) string {
	t.Helper()
	hash, err := argon2id.CreateHash(password, &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	require.NoError(t, err)
	return hash
}

func TestSession_livesWhileItIsUsed(t *testing.T) {
	s := newService(t, func(o *Options) { o.SessionTTL = 7 * time.Hour })
	b := s.browser()
	b.signUp("ada@example.com")
	fresh := b.get("get-session")
	require.Empty(t, fresh.Cookies(), "a new session is not renewed")
	end := b.me().Session.ExpiresAt
	s.exec("UPDATE sessions SET expires_at = expires_at - interval '2 hours'")
	renewed := b.get("get-session")
	require.Len(t, renewed.Cookies(), 1)
	require.Equal(t, int((7 * time.Hour).Seconds()), renewed.Cookies()[0].MaxAge)
	require.GreaterOrEqual(t, b.me().Session.ExpiresAt, end)

	s.exec("UPDATE sessions SET expires_at = now()")
	over := b.get("get-session")
	require.JSONEq(t, "null", string(over.body))
	require.Negative(t, over.Cookies()[0].MaxAge)
	_, found, err := s.auth.Session(b.request())
	require.NoError(t, err)
	require.False(t, found)
	// The next sign-in sweeps it up.
	b.signIn("ada@example.com", goodPassword)
	sessions, err := s.store.ListSessions(t.Context(), b.me().User.ID)
	require.NoError(t, err)
	require.Len(t, sessions, 1)

	// One that is not to be remembered ends with the browser, or a day later.
	brief := s.browser()
	res := brief.post("sign-in/email", map[string]any{"email": "ada@example.com", "password": goodPassword, "rememberMe": false})
	require.Zero(t, res.Cookies()[0].MaxAge)
	s.exec("UPDATE sessions SET expires_at = expires_at - interval '2 hours'")
	require.Empty(t, brief.get("get-session").Cookies())
}

func TestSession_ofOneUserAreNotWithoutEnd(t *testing.T) {
	s := newService(t)
	user := s.browser().signUp("ada@example.com")
	for range 105 {
		_, _, err := s.store.CreateSession(t.Context(), models.Session{UserID: user.ID, ExpiresAt: time.Now().Add(time.Hour)})
		require.NoError(t, err)
	}
	sessions, err := s.store.ListSessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Len(t, sessions, 100)
}
