package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(pgtest.Wrap(m)) }

const goodPassword = "correct horse battery staple"

// service is an Auth on a database of its own, answering over HTTP.
type service struct {
	*testing.T
	auth        *Auth
	store       *models.Store
	http        *httptest.Server
	mux         *http.ServeMux
	letters     *letters
	log         *logBuffer
	databaseURL string
}

// newService makes one where everybody may sign up; change may say otherwise.
func newService(t *testing.T, change ...func(*Options)) *service {
	t.Helper()
	databaseURL := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: databaseURL})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	s := &service{T: t, store: store, databaseURL: databaseURL, letters: &letters{}, log: &logBuffer{}}
	log := logrus.New()
	log.SetOutput(s.log)
	log.SetLevel(logrus.TraceLevel)
	s.mux = http.NewServeMux()
	s.http = httptest.NewServer(s.mux)
	opts := Options{
		Store: store, Secret: "a secret of thirty-two characters", AppURL: s.http.URL, SignUp: SignUpOpen, Mail: s.letters, Log: log,
		PasswordCost: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		Client:       s.http.Client(),
	}
	for _, c := range change {
		c(&opts)
	}
	s.auth, err = New(opts)
	require.NoError(t, err)
	s.mux.Handle(Prefix, s.auth.Handler())
	t.Cleanup(func() { s.http.Close(); s.auth.Close() })
	return s
}

// letters keeps what was sent.
type letters struct {
	mu   sync.Mutex
	sent []mail.Message
}

func (l *letters) Send(_ context.Context, m mail.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, m)
	return nil
}

// to gives the letters to an address, once all are sent.
func (s *service) lettersTo(address string) []mail.Message {
	s.auth.Close()
	s.letters.mu.Lock()
	defer s.letters.mu.Unlock()
	var found []mail.Message
	for _, m := range s.letters.sent {
		if m.To == address {
			found = append(found, m)
		}
	}
	return found
}

// linkIn is the address in a letter.
func (s *service) linkIn(m mail.Message) string {
	for line := range strings.Lines(m.Text) {
		if strings.HasPrefix(line, "http") {
			return strings.TrimSpace(line)
		}
	}
	s.Fatal("the letter has no link")
	return ""
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// browser keeps cookies and says where its requests come from, as browsers do.
type browser struct {
	*service
	client *http.Client
	header http.Header
}

func (s *service) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(s, err)
	b := &browser{service: s, header: http.Header{"Origin": {s.http.URL}, "User-Agent": {"a browser"}}}
	b.client = &http.Client{Jar: jar, Transport: s.http.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return b
}

// answer is what came back, with its body read.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) code(t testing.TB) string {
	var body struct{ Code, Message string }
	require.NoError(t, json.Unmarshal(a.body, &body), string(a.body))
	require.NotEmpty(t, body.Message)
	return body.Code
}

func (a answer) decode(t testing.TB, into any) {
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	require.NoError(t, json.Unmarshal(a.body, into), string(a.body))
}

func (b *browser) do(method, path string, body any) answer {
	b.Helper()
	var reader io.Reader
	if text, ok := body.(string); ok {
		reader = strings.NewReader(text)
	} else if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(b, err)
		reader = bytes.NewReader(raw)
	}
	target := path
	if !strings.HasPrefix(path, "http") {
		target = b.http.URL + Prefix + path
	}
	req, err := http.NewRequestWithContext(b.Context(), method, target, reader)
	require.NoError(b, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range b.header {
		if name == "Origin" && method == http.MethodGet {
			continue
		}
		req.Header[name] = values
	}
	res, err := b.client.Do(req)
	require.NoError(b, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(b, err)
	return answer{res, raw}
}

func (b *browser) post(path string, body any) answer {
	b.Helper()
	return b.do(http.MethodPost, path, body)
}

func (b *browser) get(path string) answer {
	b.Helper()
	return b.do(http.MethodGet, path, nil)
}

func (b *browser) signUp(email string) userBody {
	b.Helper()
	var body signedUp
	b.post("sign-up/email", map[string]any{"email": email, "password": goodPassword, "name": "Ada Lovelace"}).decode(b, &body)
	return body.User
}

func (b *browser) signIn(email, password string) answer {
	b.Helper()
	return b.post("sign-in/email", map[string]any{"email": email, "password": password})
}

type whole struct {
	Session sessionBody
	User    userBody
}

// me is who is signed in, nil for nobody.
func (b *browser) me() *whole {
	b.Helper()
	var body *whole
	b.get("get-session").decode(b, &body)
	return body
}

// invite has an organization wait for somebody with this address.
func (s *service) invite(email string) {
	s.Helper()
	owner, err := s.store.EnsureOwner(s.Context(), "Host", "host@example.com")
	require.NoError(s, err)
	s.exec("INSERT INTO invitations (id, organization_id, email, role, hash, invited_by, expires_at) VALUES ($1, $2, $3, 'viewer', $4, $5, now() + interval '1 day')",
		models.NewID(models.PrefixInvitation), owner.OrganizationID, email, []byte(email), owner.UserID)
}

// exec changes the database behind the service's back.
func (s *service) exec(statement string, args ...any) {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.databaseURL)
	require.NoError(s, err)
	defer conn.Close(s.Context())
	_, err = conn.Exec(s.Context(), statement, args...)
	require.NoError(s, err)
}
