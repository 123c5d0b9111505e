// Package mail sends the few letters the platform writes: through Resend, through
// an SMTP server, or into files on a machine that has neither.
package mail

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

// Message is a letter to one person, in plain text and in HTML.
type Message struct {
	To      string
	Subject string
	Text    string
	HTML    string
}

// Sender sends a letter, or hands it to a server that will. Its error says why
// not; nothing of the letter but the address is in it. Safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Options say which way letters go: through Resend when ResendKey is set, else
// through SMTPAddr when that is, else into files of Dir.
type Options struct {
	// From is the sender: "Slipway <slipway@example.com>".
	From string

	ResendKey string
	ResendURL string
	// Client calls Resend; nil is one with a timeout of 15 s.
	Client *http.Client

	// SMTPAddr is host:port; SMTPUser may be empty.
	SMTPAddr, SMTPUser, SMTPPassword string
	// SMTPTLS is starttls (required), tls or none.
	SMTPTLS string
	// SMTPRoots are whose certificates of servers are right; nil are the system's.
	SMTPRoots *x509.CertPool

	Dir string
	Log logrus.FieldLogger
}

// Delivers says whether letters leave this machine.
func (o Options) Delivers() bool { return o.ResendKey != "" || o.SMTPAddr != "" }

// New makes the sender that the options ask for.
func New(opts Options) (Sender, error) {
	if opts.Log == nil {
		opts.Log = logrus.StandardLogger()
	}
	from, err := mail.ParseAddress(opts.From)
	if err != nil {
		return nil, models.Errorf(models.CodeValidation, "RESEND_FROM must be a sender such as Slipway <slipway@example.com>.")
	}
	switch {
	case opts.ResendKey != "":
		if opts.Client == nil {
			opts.Client = &http.Client{Timeout: 15 * time.Second}
		}
		return &resend{opts: opts, from: from}, nil
	case opts.SMTPAddr != "":
		return newSMTP(opts, from)
	case opts.Dir != "":
		return &files{dir: opts.Dir, from: from, log: opts.Log}, nil
	default:
		return nil, errors.New("mail: one of ResendKey, SMTPAddr and Dir is required")
	}
}

// check refuses what could add a line to a letter's header, or another reader.
func (m Message) check() error {
	address, err := mail.ParseAddress(m.To)
	if err != nil || address.Address != m.To {
		return models.Errorf(models.CodeValidation, "A letter needs one plain address to go to.")
	}
	if m.Subject == "" || len(m.Subject) > 500 || strings.ContainsFunc(m.Subject, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return models.Errorf(models.CodeValidation, "A letter's subject must be one line.")
	}
	return nil
}
