package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/outbound"
)

// Options are what a Sender is made of.
type Options struct {
	Rules Rules
	// Timeout bounds an attempt, from looking up the name to the end of what is
	// read of the answer. 15 s when zero.
	Timeout time.Duration
	// Version goes into User-Agent.
	Version string
	// Resolve looks names up; nil is outbound.Resolve.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// RootCAs verify receivers; nil is the system's.
	RootCAs *x509.CertPool
}

// Message is one attempt's content.
type Message struct {
	// ID is the event's: the same in every attempt, so that receivers know a
	// repeated one.
	ID string
	// Format says how Payload, the event, is put.
	Format      models.WebhookFormat
	Payload     []byte
	Credentials Credentials
}

// Answer is what an attempt came to.
type Answer struct {
	// Status is what was answered; 0 when nothing was.
	Status   int
	Duration time.Duration
	// Body is how the answer begins, as text.
	Body string
	// RetryAfter is how long the receiver wants to be left alone; 0 when it does
	// not say.
	RetryAfter time.Duration
	// Error says in words for people what was wrong; "" when the receiver has
	// taken the message.
	Error string
}

// Gone says that the receiver wants to hear nothing more.
func (a Answer) Gone() bool { return a.Status == http.StatusGone }

const (
	// maxAnswerBytes is how much of an answer is read and kept.
	maxAnswerBytes = 1 << 10
	// maxAnswerHeader bounds the head of an answer.
	maxAnswerHeader = 64 << 10
)

// Sender sends messages to receivers on the public internet. Safe for
// concurrent use.
type Sender struct {
	options Options
	client  *http.Client
}

// NewSender makes a sender.
func NewSender(o Options) *Sender {
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Resolve == nil {
		o.Resolve = outbound.Resolve
	}
	dialer := o.Rules.dialer()
	dialer.Resolve = o.Resolve
	return &Sender{options: o, client: &http.Client{
		// A redirect could lead to where the address may not.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				number, err := strconv.ParseUint(port, 10, 16)
				if err != nil {
					return nil, err
				}
				return dialer.Dial(ctx, host, uint16(number))
			},
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxAnswerHeader,
			// Connections are nobody's but this message's: receivers belong to tenants.
			DisableKeepAlives:  true,
			DisableCompression: true,
		},
	}}
}

// Send makes one attempt. It takes no longer than the timeout, follows no
// redirect and reads no more than 1 KiB of the answer.
func (s *Sender) Send(ctx context.Context, m Message) Answer {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	began := time.Now()
	answer := s.send(ctx, m, began)
	answer.Duration = time.Since(began)
	return answer
}

func (s *Sender) send(ctx context.Context, m Message, at time.Time) Answer {
	request, err := s.request(ctx, m, at)
	if err != nil {
		return Answer{Error: models.MessageOf(err)}
	}
	response, err := s.client.Do(request)
	if err != nil {
		// The error itself repeats the address, which may be a secret, and what it
		// resolves to.
		return Answer{Error: sentence(outbound.Reason(err))}
	}
	defer response.Body.Close()
	begin, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	answer := Answer{
		Status: response.StatusCode, Body: strings.ReplaceAll(strings.ToValidUTF8(string(begin), "\uFFFD"), "\x00", "\uFFFD"),
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
	}
	switch {
	case answer.Status >= 200 && answer.Status < 300:
	case answer.Status >= 300 && answer.Status < 400:
		answer.Error = fmt.Sprintf("The receiver answered %d: redirects are not followed. Give the address it leads to.", answer.Status)
	default:
		answer.Error = strings.TrimSpace(fmt.Sprintf("The receiver answered %d %s", answer.Status, http.StatusText(answer.Status))) + "."
	}
	return answer
}

// request makes the request of a message. The address is checked anew: what is
// allowed may have changed since it was given.
func (s *Sender) request(ctx context.Context, m Message, at time.Time) (*http.Request, error) {
	address, problem := s.options.Rules.Check(m.Format, m.Credentials.URL)
	if problem != "" {
		return nil, models.Errorf(models.CodeValidation, "The address is not allowed any more: it %s.", problem)
	}
	body := m.Payload
	if m.Format != models.WebhookStandard {
		e, err := readEvent(m.Payload)
		if err != nil {
			return nil, err
		}
		if m.Format == models.WebhookGitHub {
			if e.Data.Commit == "" {
				return nil, models.Errorf(models.CodeValidation, "There is no commit to set a status of.")
			}
			address = strings.ReplaceAll(address, shaMark, url.PathEscape(e.Data.Commit))
			body, err = e.githubBody()
		} else {
			body, err = e.slackBody()
		}
		if err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, models.Wrap(models.CodeValidation, err, "The address cannot be used.")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Slipway/"+s.options.Version)
	switch m.Format {
	case models.WebhookStandard:
		return request, signed(request.Header, m.Credentials, m.ID, at, body)
	case models.WebhookGitHub:
		request.Header.Set("Accept", "application/vnd.github+json")
		if m.Credentials.Token != "" {
			request.Header.Set("Authorization", "Bearer "+m.Credentials.Token)
		}
	}
	return request, nil
}

// retryAfter reads the header of that name (RFC 9110 §10.2.3); 0 when it says
// nothing to go by.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// sentence makes a clause one.
func sentence(clause string) string {
	if clause == "" {
		return ""
	}
	return strings.ToUpper(clause[:1]) + clause[1:] + "."
}
