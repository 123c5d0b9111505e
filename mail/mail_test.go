package mail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
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
	"go.uber.org/goleak"

	"github.com/slipwayhq/slipway/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// mailServer is a small SMTP server (RFC 5321) that keeps what it is given.
type mailServer struct {
	net.Listener
	mu      sync.Mutex
	wg      sync.WaitGroup
	from    []string
	to      []string
	letters []string
	// refuses has it take no recipient.
	refuses bool
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &mailServer{Listener: listener}
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); s.wg.Wait() })
	return s
}

func (s *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 test ready")
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		s.mu.Lock()
		switch verb, rest, _ := strings.Cut(strings.TrimSpace(line), " "); strings.ToUpper(verb) {
		case "EHLO":
			say("250-test")
			say("250 8BITMIME")
		case "MAIL":
			s.from = append(s.from, rest)
			say("250 ok")
		case "RCPT":
			if s.refuses {
				say("550 no such person")
				break
			}
			s.to = append(s.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var letter strings.Builder
			for {
				line, err := lines.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				letter.WriteString(strings.TrimPrefix(line, "."))
			}
			s.letters = append(s.letters, letter.String())
			say("250 taken")
		case "QUIT":
			say("221 bye")
			s.mu.Unlock()
			return
		default:
			say("250 ok")
		}
		s.mu.Unlock()
	}
}

func TestSMTP_handsLettersOver(t *testing.T) {
	server := newMailServer(t)
	sender, err := New(Options{From: "Slipway <slipway@example.com>", SMTPAddr: server.Addr().String(), SMTPTLS: "none"})
	require.NoError(t, err)
	require.NoError(t, sender.Send(t.Context(), ResetPassword("ada@example.com", "https://slipway.example.com/r?token=a&b=c")))
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Equal(t, []string{"TO:<ada@example.com>"}, server.to)
	require.Contains(t, server.from[0], "FROM:<slipway@example.com>")
	header, text, html := read(t, server.letters[0])
	require.Equal(t, "Choose a new password for Slipway", header.Get("Subject"))
	require.Equal(t, `"Slipway" <slipway@example.com>`, header.Get("From"))
	require.Equal(t, "<ada@example.com>", header.Get("To"))
	require.Equal(t, "auto-generated", header.Get("Auto-Submitted"))
	require.NotEmpty(t, header.Get("Date"))
	require.NotEmpty(t, header.Get("Message-Id"))
	require.Contains(t, text, "https://slipway.example.com/r?token=a&b=c\r\n")
	require.Contains(t, html, `href="https://slipway.example.com/r?token=a&amp;b=c"`)
}

func TestSMTP_saysWhyNot(t *testing.T) {
	server := newMailServer(t)
	server.refuses = true
	sender, err := New(Options{From: "slipway@example.com", SMTPAddr: server.Addr().String(), SMTPTLS: "none", SMTPUser: "u", SMTPPassword: "the password"})
	require.NoError(t, err)
	err = sender.Send(t.Context(), PasswordChanged("ada@example.com", "https://x.example"))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "the password")

	// A server that offers no TLS gets no letter when TLS is required.
	sender, err = New(Options{From: "slipway@example.com", SMTPAddr: server.Addr().String(), SMTPTLS: "starttls"})
	require.NoError(t, err)
	require.Error(t, sender.Send(t.Context(), PasswordChanged("ada@example.com", "https://x.example")))
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Empty(t, server.letters)
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
