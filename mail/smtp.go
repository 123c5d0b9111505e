package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/mail"
	"slices"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/slipwayhq/slipway/models"
)

// sendTimeout bounds the handing over of one letter, from dialing to the server's
// last word.
const sendTimeout = 20 * time.Second

// smtp hands letters to a mail server (RFC 5321), one connection each. The password
// is shown to a server whose certificate is right. On a connection that was told to
// have no TLS it answers a challenge or stays here.
type smtp struct {
	host     string
	settings []gomail.Option
	tls      *tls.Config
	// implicit says that the connection begins with TLS (RFC 8314 §3.3).
	implicit bool
	timeout  time.Duration
	from     *mail.Address
}

func newSMTP(opts Options, from *mail.Address) (*smtp, error) {
	host, port, err := net.SplitHostPort(opts.SMTPAddr)
	number, numberErr := strconv.Atoi(port)
	if err != nil || numberErr != nil {
		return nil, models.Errorf(models.CodeValidation, "SMTP_ADDR must be host:port.")
	}
	s := &smtp{host: host, timeout: sendTimeout, from: from, tls: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: opts.SMTPRoots}}
	policy := gomail.TLSMandatory
	switch opts.SMTPTLS {
	case "tls":
		// No server offers TLS where there is TLS already.
		s.implicit, policy = true, gomail.TLSOpportunistic
	case "none":
		policy = gomail.NoTLS
	}
	s.settings = []gomail.Option{gomail.WithPort(number), gomail.WithTimeout(s.timeout), gomail.WithTLSConfig(s.tls), gomail.WithTLSPolicy(policy)}
	if opts.SMTPUser != "" {
		s.settings = append(s.settings, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(opts.SMTPUser), gomail.WithPassword(opts.SMTPPassword))
	}
	_, err = gomail.NewClient(host, s.settings...)
	return s, err
}

// Send implements Sender.
func (s *smtp) Send(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	letter, err := compose(s.from, m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	client, err := gomail.NewClient(s.host, append(slices.Clone(s.settings), gomail.WithDialContextFunc(s.dialFor(ctx)))...)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("send a letter by SMTP: %w", err)
	}
	return nil
}

// dialFor gives connections that end with ctx: the client leaves one open whose
// server it does not want, and waits without an end for a server that is silent.
func (s *smtp) dialFor(ctx context.Context) gomail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		if !s.implicit {
			return conn, nil
		}
		secured := tls.Client(conn, s.tls)
		if err := secured.HandshakeContext(dialing); err != nil {
			return nil, err
		}
		return secured, nil
	}
}

// compose makes the letter as it travels (RFC 5322, MIME).
func compose(from *mail.Address, m Message) (*gomail.Msg, error) {
	letter := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := letter.FromFormat(from.Name, from.Address); err != nil {
		return nil, fmt.Errorf("the sender of a letter: %w", err)
	}
	if err := letter.To(m.To); err != nil {
		return nil, fmt.Errorf("the address of a letter: %w", err)
	}
	letter.Subject(m.Subject)
	letter.SetDate()
	letter.SetMessageID()
	letter.SetGenHeader("Auto-Submitted", "auto-generated")
	letter.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		letter.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return letter, nil
}
