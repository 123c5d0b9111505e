package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// read takes a letter apart.
func read(t *testing.T, raw string) (header mail.Header, text, html string) {
	t.Helper()
	letter, err := mail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(letter.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(letter.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return letter.Header, text, html
		}
		require.NoError(t, err)
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		content, err := io.ReadAll(body)
		require.NoError(t, err)
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			text = string(content)
		} else {
			html = string(content)
		}
	}
}

func TestResend_handsLettersOver(t *testing.T) {
	var got map[string]any
	var key string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key = r.Header.Get("Authorization")
		_ = json.NewDecoder(r.Body).Decode(&got)
		w.WriteHeader(status)
		fmt.Fprint(w, `{"name":"validation_error","message":"The from address is not verified."}`)
	}))
	defer server.Close()
	sender, err := New(Options{From: "Slipway <slipway@example.com>", ResendKey: "re_secret", ResendURL: server.URL + "/", Client: server.Client()})
	require.NoError(t, err)
	require.NoError(t, sender.Send(t.Context(), Confirm("ada@example.com", "https://x.example/confirm")))
	require.Equal(t, "Bearer re_secret", key)
	require.Equal(t, `"Slipway" <slipway@example.com>`, got["from"])
	require.Equal(t, []any{"ada@example.com"}, got["to"])
	require.Contains(t, got["text"], "https://x.example/confirm")
	require.Contains(t, got["html"], "https://x.example/confirm")

	status = http.StatusForbidden
	err = sender.Send(t.Context(), Confirm("ada@example.com", "https://x.example/confirm"))
	require.ErrorContains(t, err, "The from address is not verified.")
	require.NotContains(t, err.Error(), "re_secret")
}

func TestFiles_keepLettersToThemselves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	sender, err := New(Options{From: "Slipway <slipway@localhost>", Dir: dir, Log: logger})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			require.NoError(t, sender.Send(t.Context(), Welcome("ada@example.com", "Zoë", "http://localhost:3008/app")))
		})
	}
	wg.Wait()
	found, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	require.NoError(t, err)
	require.Len(t, found, 20)
	raw, err := os.ReadFile(found[0])
	require.NoError(t, err)
	_, text, html := read(t, string(raw))
	require.Contains(t, text, "Hello Zoë,")
	require.Contains(t, html, "Hello Zoë,")
	for path, mode := range map[string]os.FileMode{found[0]: 0o600, dir: 0o700} {
		state, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, state.Mode().Perm())
	}
	require.Contains(t, log.String(), "ada@example.com")
	require.NotContains(t, log.String(), "localhost:3008")
}

func TestLetters_takeNoHeadersFromOutside(t *testing.T) {
	sender, err := New(Options{From: "slipway@localhost", Dir: t.TempDir()})
	require.NoError(t, err)
	for _, to := range []string{
		"", "ada", "ada@example.com, eve@example.com", "ada@example.com\r\nBcc: eve@example.com", "Ada <ada@example.com>", "ada@example.com\n", "<ada@example.com>", " ada@example.com",
	} {
		err := sender.Send(t.Context(), PasswordChanged(to, "https://x.example"))
		require.Equal(t, models.CodeValidation, models.CodeOf(err), "%q", to)
	}
	for _, subject := range []string{"", "two\r\nBcc: eve@example.com", "nul\x00", strings.Repeat("a", 600)} {
		require.Error(t, sender.Send(t.Context(), Message{To: "ada@example.com", Subject: subject, Text: "x"}), "%q", subject)
	}
	evil := "Evil\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>" + strings.Repeat("x", 500)
	m := Invitation("ada@example.com", evil, evil, "viewer", `https://x.example/"><script>`)
	require.NoError(t, sender.Send(t.Context(), m))
	require.NotContains(t, m.Subject, "\n")
	require.Less(t, len(m.Subject), 120)
	require.NotContains(t, m.HTML, "<script>")
	require.NoError(t, sender.Send(t.Context(), Welcome("ada@example.com", evil, "https://x.example")))
}

func TestLetters_letNoNameBeDecoded(t *testing.T) {
	dir := t.TempDir()
	sender, err := New(Options{From: "slipway@localhost", Dir: dir})
	require.NoError(t, err)
	const name = "=?utf-8?q?=E2=80=AEmoc.live?="
	require.NoError(t, sender.Send(t.Context(), Invitation("ada@example.com", name, name, "viewer", "https://x.example")))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	data, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	require.NoError(t, err)
	letter, err := mail.ReadMessage(bytes.NewReader(data))
	require.NoError(t, err)
	subject, err := new(mime.WordDecoder).DecodeHeader(letter.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "Join = ?utf-8?q?=E2=80=AEmoc. live?= on Slipway", subject)
}

// Whoever made an organization of the name could have any address sent a link.
func TestLetters_makeNoLinkOfAName(t *testing.T) {
	for name, shown := range map[string]string{
		"Acme & Sons":              "Acme & Sons",
		"Node.js, 24/7":            "Node. js, 24/7",
		"Acme Inc.":                "Acme Inc.",
		"https://evil.example/x":   "https: //evil. example/x",
		"www.evil.example":         "www. evil. example",
		"eve@evil.example":         "eve@ evil. example",
		"evil。example":             "evil。 example",
		"evil．example":             "evil． example",
		"evil｡example":             "evil｡ example",
		"https：//localhost/x":      "https： //localhost/x",
		"http://3232235777":        "http: //3232235777",
		"mailto:eve@localhost":     "mailto: eve@ localhost",
		`\\evil\share`:             `\ \ evil\ share`,
		"evil.\u202Eexample":       "evil. example",
		"a\x1b[31m\u009bred\x00b":  "a[31mredb",
		"two\u2028lines\u0085here": "two lines here",
	} {
		require.Equal(t, shown, line(name, 80), "%q", name)
		m := Invitation("ada@example.com", name, name, "viewer", "https://x.example/app")
		require.Equal(t, "Join "+shown+" on Slipway", m.Subject)
		require.Contains(t, m.Text, shown+" invites you to the organization "+shown+", as viewer.")
		require.Equal(t, 1, strings.Count(m.HTML, "href="))
	}
	require.Contains(t, Welcome("ada@example.com", "evil.example", "https://x.example/app").Text, "Hello evil. example,")
}

func TestNew_saysWhatIsWrong(t *testing.T) {
	for _, opts := range []Options{
		{From: "nobody", Dir: "x"}, {From: "a@b.example\r\nBcc: x@y.example", Dir: "x"}, {From: "a@b.example"}, {From: "a@b.example", SMTPAddr: "mail.example.com"},
		{From: "a@b.example", SMTPAddr: "mail.example.com:smtp"},
	} {
		_, err := New(opts)
		require.Error(t, err, "%+v", opts)
	}
	require.True(t, Options{ResendKey: "x"}.Delivers())
	require.True(t, Options{SMTPAddr: "x"}.Delivers())
	require.False(t, Options{Dir: "x"}.Delivers())
}
