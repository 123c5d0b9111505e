package mail

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mailServer is a small SMTP server (RFC 5321, 3207, 4954) that keeps what it is
// given. Its fields are set before it starts.
type mailServer struct {
	// implicit begins with TLS; starttls offers it.
	implicit, starttls bool
	// refuses has it take no recipient, silent say nothing.
	refuses, silent bool
	// auth is what it offers to be shown the password by; "" is nothing.
	auth string

	address string
	// roots are whose certificate it has, for 127.0.0.1.
	roots   *x509.CertPool
	tls     *tls.Config
	wg      sync.WaitGroup
	mu      sync.Mutex
	from    []string
	to      []string
	letters []string
	// users are those who have shown the password.
	users []string
	// clear are the lines that came without TLS.
	clear []string
}

const mailPassword = "the password of the mail server"

func (s *mailServer) start(t *testing.T) *mailServer {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	s.tls = &tls.Config{Certificates: certified.TLS.Certificates}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(certified.Certificate())
	certified.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = listener.Addr().String()
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() {
				defer conn.Close()
				s.serve(conn)
			})
		}
	})
	// A client that leaves a connection open holds this up.
	t.Cleanup(func() { _ = listener.Close(); s.wg.Wait() })
	return s
}

// options are those that reach the server.
func (s *mailServer) options(tls string) Options {
	return Options{From: "Slipway <slipway@example.com>", SMTPAddr: s.address, SMTPTLS: tls, SMTPRoots: s.roots}
}

// withUser has the options show the password.
func withUser(o Options) Options {
	o.SMTPUser, o.SMTPPassword = "slipway", mailPassword
	return o
}

func send(t *testing.T, o Options) error {
	t.Helper()
	sender, err := New(o)
	require.NoError(t, err)
	return sender.Send(t.Context(), ResetPassword("ada@example.com", "https://slipway.example.com/r?token=a&b=c"))
}

func (s *mailServer) serve(conn net.Conn) {
	secured := s.implicit
	if secured {
		conn = tls.Server(conn, s.tls)
	}
	lines := bufio.NewReader(conn)
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	hear := func() (string, bool) {
		line, err := lines.ReadString('\n')
		if !secured && err == nil {
			s.mu.Lock()
			s.clear = append(s.clear, line)
			s.mu.Unlock()
		}
		return strings.TrimSuffix(line, "\r\n"), err == nil
	}
	if !s.silent {
		say("220 test ready")
	}
	for {
		line, ok := hear()
		if !ok {
			return
		}
		switch verb, rest, _ := strings.Cut(line, " "); strings.ToUpper(verb) {
		case "EHLO":
			say("250-test")
			if s.starttls && !secured {
				say("250-STARTTLS")
			}
			if s.auth != "" {
				say("250-AUTH " + s.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, s.tls)
			lines, secured = bufio.NewReader(conn), true
		case "AUTH":
			say(s.authenticate(rest, say, hear))
		case "MAIL":
			s.mu.Lock()
			s.from = append(s.from, rest)
			s.mu.Unlock()
			say("250 ok")
		case "RCPT":
			if s.refuses {
				say("550 no such person")
				break
			}
			s.mu.Lock()
			s.to = append(s.to, rest)
			s.mu.Unlock()
			say("250 ok")
		case "DATA":
			say("354 go on")
			var letter strings.Builder
			for line, ok := hear(); ok && line != "."; line, ok = hear() {
				letter.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
			}
			s.mu.Lock()
			s.letters = append(s.letters, letter.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// authenticate knows the mechanisms PLAIN (RFC 4616) and CRAM-MD5 (RFC 2195).
func (s *mailServer) authenticate(how string, say func(string), hear func() (string, bool)) string {
	mechanism, first, _ := strings.Cut(how, " ")
	if !slices.Contains(strings.Fields(s.auth), mechanism) {
		return "504 not offered"
	}
	const challenge = "<1.2@test>"
	answer := first
	if mechanism == "CRAM-MD5" {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(challenge)))
		answer, _ = hear()
	}
	shown, _ := base64.StdEncoding.DecodeString(answer)
	mac := hmac.New(md5.New, []byte(mailPassword))
	mac.Write([]byte(challenge))
	right := map[string]string{"PLAIN": "\x00slipway\x00" + mailPassword, "CRAM-MD5": "slipway " + hex.EncodeToString(mac.Sum(nil))}
	if string(shown) != right[mechanism] {
		return "535 wrong"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, mechanism)
	return "235 welcome"
}

// heard is what came in the clear, with what was in base64 as it reads.
func (s *mailServer) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.clear, "")
	for word := range strings.FieldsSeq(all) {
		if decoded, err := base64.StdEncoding.DecodeString(word); err == nil {
			all += string(decoded)
		}
	}
	return all
}

func TestSMTP_handsLettersOver(t *testing.T) {
	server := (&mailServer{}).start(t)
	require.NoError(t, send(t, server.options("none")))
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

func TestSMTP_handsLettersOverByTLS(t *testing.T) {
	for name, server := range map[string]*mailServer{"starttls": {starttls: true, auth: "LOGIN PLAIN"}, "tls": {implicit: true, auth: "PLAIN LOGIN"}} {
		t.Run(name, func(t *testing.T) {
			server.start(t)
			require.NoError(t, send(t, withUser(server.options(name))))
			require.Len(t, server.letters, 1)
			require.Equal(t, []string{"PLAIN"}, server.users)
			heard := server.heard()
			for _, private := range []string{"slipway", "password", "ada@example.com"} {
				require.NotContains(t, heard, private)
			}
			require.Equal(t, name == "starttls", strings.Contains(heard, "STARTTLS"))

			wrong := withUser(server.options(name))
			wrong.SMTPPassword = "another password"
			err := send(t, wrong)
			require.ErrorContains(t, err, "535")
			require.NotContains(t, err.Error(), "another password")
			require.Len(t, server.letters, 1)
		})
	}
}

func TestSMTP_givesNothingToAServerThatIsNotTheOne(t *testing.T) {
	for name, server := range map[string]*mailServer{"starttls": {starttls: true, auth: "PLAIN"}, "tls": {implicit: true, auth: "PLAIN"}} {
		t.Run(name, func(t *testing.T) {
			server.start(t)
			untrusted := withUser(server.options(name))
			untrusted.SMTPRoots = x509.NewCertPool()
			otherName := withUser(server.options(name))
			otherName.SMTPAddr = strings.Replace(server.address, "127.0.0.1", "localhost", 1)
			for _, o := range []Options{untrusted, otherName} {
				err := send(t, o)
				var unsure *tls.CertificateVerificationError
				require.ErrorAs(t, err, &unsure)
			}
			require.Empty(t, server.users)
			require.Empty(t, server.from)
			require.NotContains(t, server.heard(), mailPassword)
		})
	}
}

func TestSMTP_requiresTheTLSItWasToldTo(t *testing.T) {
	// One that offers none, as somebody between would have it look.
	server := (&mailServer{auth: "PLAIN LOGIN CRAM-MD5"}).start(t)
	for _, setting := range []string{"starttls", "", "anything"} {
		require.ErrorContains(t, send(t, withUser(server.options(setting))), "STARTTLS", setting)
	}
	require.Error(t, send(t, withUser(server.options("tls"))))
	require.Empty(t, server.from)
	require.Empty(t, server.users)
	require.NotContains(t, server.heard(), "AUTH")
}

func TestSMTP_showsThePasswordOnlyByAChallengeWithoutTLS(t *testing.T) {
	server := (&mailServer{auth: "PLAIN LOGIN"}).start(t)
	require.Error(t, send(t, withUser(server.options("none"))))
	require.Empty(t, server.from)
	require.NotContains(t, server.heard(), mailPassword)

	server = (&mailServer{auth: "PLAIN CRAM-MD5 LOGIN"}).start(t)
	require.NoError(t, send(t, withUser(server.options("none"))))
	require.Equal(t, []string{"CRAM-MD5"}, server.users)
	require.NotContains(t, server.heard(), mailPassword)
}

func TestSMTP_saysWhyNot(t *testing.T) {
	for name, server := range map[string]*mailServer{"none": {refuses: true, auth: "CRAM-MD5"}, "tls": {refuses: true, implicit: true, auth: "PLAIN"}} {
		server.start(t)
		err := send(t, withUser(server.options(name)))
		require.ErrorContains(t, err, "550")
		require.NotContains(t, err.Error(), mailPassword)
		require.Empty(t, server.letters)
	}
	require.Error(t, send(t, withUser((&mailServer{starttls: true}).start(t).options("starttls"))), "the server asks nobody who they are")
}

func TestSMTP_waitsForNoSilentServerLongerThanItMay(t *testing.T) {
	for _, setting := range []string{"none", "starttls", "tls"} {
		server := (&mailServer{silent: true, implicit: setting == "tls"}).start(t)
		sender, err := New(server.options(setting))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, sender.Send(ctx, PasswordChanged("ada@example.com", "https://x.example")), context.DeadlineExceeded, setting)
	}
}
