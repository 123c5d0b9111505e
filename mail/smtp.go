package mail

import (
	"context"
	"fmt"
	"net"
	"net/mail"
	"slices"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/slipwayhq/slipway/models"
)

// smtp hands letters to a mail server (RFC 5321), one connection each.
type smtp struct {
	host     string
	settings []gomail.Option
	// tls says that the connection begins with TLS; the client then dials itself.
	tls  bool
	from *mail.Address
}

func newSMTP(opts Options, from *mail.Address) (*smtp, error) {
	host, port, err := net.SplitHostPort(opts.SMTPAddr)
	number, numberErr := strconv.Atoi(port)
	if err != nil || numberErr != nil {
		return nil, models.Errorf(models.CodeValidation, "SMTP_ADDR must be host:port.")
	}
	settings := []gomail.Option{gomail.WithPort(number), gomail.WithTimeout(15 * time.Second)}
	switch opts.SMTPTLS {
	case "tls":
		settings = append(settings, gomail.WithSSL())
	case "none":
		settings = append(settings, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		settings = append(settings, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if opts.SMTPUser != "" {
		settings = append(settings, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(opts.SMTPUser), gomail.WithPassword(opts.SMTPPassword))
	}
	_, err = gomail.NewClient(host, settings...)
	return &smtp{host: host, settings: settings, tls: opts.SMTPTLS == "tls", from: from}, err
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
	settings := s.settings
	if !s.tls {
		// The client leaves a connection open whose server it does not want.
		var opened []net.Conn
		defer func() {
			for _, conn := range opened {
				_ = conn.Close()
			}
		}()
		settings = append(slices.Clone(settings), gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				opened = append(opened, conn)
			}
			return conn, err
		}))
	}
	client, err := gomail.NewClient(s.host, settings...)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, letter); err != nil {
		return fmt.Errorf("send a letter by SMTP: %w", err)
	}
	return nil
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
