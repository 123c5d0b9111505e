package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// verify is a receiver's side of the specification, written from its text: the
// signed content is id, timestamp and body with full stops between, any of the
// signatures may match, and old timestamps are refused.
func verify(secret string, header http.Header, body []byte, now time.Time) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(header.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return err
	}
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); age > 5*time.Minute {
		return fmt.Errorf("the timestamp is %s off", age)
	}
	h := hmac.New(sha256.New, raw)
	fmt.Fprintf(h, "%s.%d.%s", header.Get("webhook-id"), seconds, body)
	for signature := range strings.FieldsSeq(header.Get("webhook-signature")) {
		version, text, _ := strings.Cut(signature, ",")
		given, err := base64.StdEncoding.DecodeString(text)
		if version == "v1" && err == nil && hmac.Equal(given, h.Sum(nil)) {
			return nil
		}
	}
	return fmt.Errorf("no signature matches")
}

func TestSign_givesTheSpecificationsOwnExample(t *testing.T) {
	// From the tests of the specification's reference libraries.
	got, err := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	require.NoError(t, err)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", got)
}

func TestNewSecret_hasAsManyBytesAsTheSpecificationAsksFor(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(NewSecret(), "whsec_"))
	require.NoError(t, err)
	require.Len(t, raw, 32)
	require.NotEqual(t, NewSecret(), NewSecret())
}

const payload = `{"type":"deployment.failed","timestamp":"2026-01-02T03:04:05Z","data":{"workerName":"shop","deploymentId":"dep_1","sequence":7,` +
	`"outcome":"rejected","commit":"8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2","error":"The build <failed> & stopped."}}`

// loopback allows what tests listen on.
func loopback() Rules {
	return Rules{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func standard(address string) Message {
	return Message{ID: "evt_1", Format: models.WebhookStandard, Payload: []byte(payload), Credentials: Credentials{URL: address, Secret: NewSecret()}}
}

// receiver is a real server that answers as told and keeps what came.
type receiver struct {
	*httptest.Server
	requests chan *http.Request
	bodies   chan []byte
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{requests: make(chan *http.Request, 10), bodies: make(chan []byte, 10)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.requests <- req
		r.bodies <- body
		answer(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestSender_signsWhatItSends(t *testing.T) {
	r := newReceiver(t, status(http.StatusNoContent))
	m := standard(r.URL + "/hook?a=b")
	answer := NewSender(Options{Rules: loopback(), Version: "1.2.3"}).Send(t.Context(), m)
	require.Empty(t, answer.Error)
	require.Equal(t, http.StatusNoContent, answer.Status)
	request, body := <-r.requests, <-r.bodies
	require.Equal(t, payload, string(body))
	require.Equal(t, "/hook?a=b", request.RequestURI)
	require.Equal(t, "application/json", request.Header.Get("Content-Type"))
	require.Equal(t, "Slipway/1.2.3", request.Header.Get("User-Agent"))
	require.Equal(t, "evt_1", request.Header.Get("webhook-id"))
	require.NoError(t, verify(m.Credentials.Secret, request.Header, body, time.Now()))
	require.Error(t, verify(NewSecret(), request.Header, body, time.Now()))
	require.Error(t, verify(m.Credentials.Secret, request.Header, append(body, ' '), time.Now()))
}

func TestSender_signsWithBothSecretsWhileOneReplacesTheOther(t *testing.T) {
	r := newReceiver(t, status(http.StatusOK))
	m := standard(r.URL)
	old := m.Credentials.Secret
	m.Credentials.Rotate(time.Now())
	require.NotEqual(t, old, m.Credentials.Secret)
	sender := NewSender(Options{Rules: loopback()})
	require.Empty(t, sender.Send(t.Context(), m).Error)
	request, body := <-r.requests, <-r.bodies
	for _, secret := range []string{old, m.Credentials.Secret} {
		require.NoError(t, verify(secret, request.Header, body, time.Now()))
	}
	m.Credentials.PreviousUntil = time.Now().Add(-time.Second)
	require.Empty(t, sender.Send(t.Context(), m).Error)
	request, body = <-r.requests, <-r.bodies
	require.Error(t, verify(old, request.Header, body, time.Now()), "a day later the old one is worth nothing")
	require.NoError(t, verify(m.Credentials.Secret, request.Header, body, time.Now()))
}

func TestSender_saysTheEventAsSlackWantsIt(t *testing.T) {
	r := newReceiver(t, status(http.StatusOK))
	m := standard(r.URL)
	m.Format = models.WebhookSlack
	require.Empty(t, NewSender(Options{Rules: loopback()}).Send(t.Context(), m).Error)
	request := <-r.requests
	require.Empty(t, request.Header.Get("webhook-signature"))
	var got struct {
		Text   string
		Blocks []struct {
			Type string
			Text struct{ Type, Text string }
		}
	}
	require.NoError(t, json.Unmarshal(<-r.bodies, &got))
	require.Equal(t, "shop: Deployment 7 failed.", got.Text)
	require.Equal(t, "section", got.Blocks[0].Type)
	require.Equal(t, "shop: Deployment 7 failed.\n>The build &lt;failed&gt; &amp; stopped.", got.Blocks[0].Text.Text)
}

func TestSender_setsACommitStatus(t *testing.T) {
	r := newReceiver(t, status(http.StatusCreated))
	m := standard(r.URL + "/repos/acme/shop/statuses/{sha}")
	m.Format, m.Credentials.Token = models.WebhookGitHub, "secret"
	sender := NewSender(Options{Rules: loopback()})
	require.Empty(t, sender.Send(t.Context(), m).Error)
	request := <-r.requests
	require.Equal(t, "/repos/acme/shop/statuses/8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2", request.URL.Path)
	require.Equal(t, "Bearer secret", request.Header.Get("Authorization"))
	require.JSONEq(t, `{"state":"failure","context":"slipway/shop","description":"Deployment 7 failed. The build <failed> & stopped."}`, string(<-r.bodies))

	for kind, state := range map[string]string{"queued": "pending", "started": "pending", "succeeded": "success", "dead_lettered": "error"} {
		e, err := readEvent([]byte(strings.Replace(payload, "deployment.failed", "deployment."+kind, 1)))
		require.NoError(t, err)
		e.Data.Error = strings.Repeat("ü", 500)
		body, err := e.githubBody()
		require.NoError(t, err)
		var got map[string]string
		require.NoError(t, json.Unmarshal(body, &got))
		require.Equal(t, state, got["state"], kind)
		require.LessOrEqual(t, len([]rune(got["description"])), maxDescription)
	}
}

func TestSender_everyEventHasASentence(t *testing.T) {
	for _, kind := range append(models.EventKinds(), models.EventPing) {
		e := event{Type: kind}
		require.Regexp(t, `^[A-Z].*\.$`, e.sentence(), kind)
	}
}

func TestSender_takesOnlyATwoHundredForAYes(t *testing.T) {
	for code, ok := range map[int]bool{200: true, 202: true, 299: true, 301: false, 400: false, 404: false, 410: false, 500: false, 503: false} {
		r := newReceiver(t, status(code))
		answer := NewSender(Options{Rules: loopback()}).Send(t.Context(), standard(r.URL))
		require.Equal(t, code, answer.Status)
		require.Equal(t, ok, answer.Error == "", "%d: %s", code, answer.Error)
		require.Equal(t, code == 410, answer.Gone())
	}
}

func TestSender_followsNoRedirect(t *testing.T) {
	var led atomic.Int64
	private := newReceiver(t, func(http.ResponseWriter, *http.Request) { led.Add(1) })
	for _, code := range []int{301, 302, 303, 307, 308} {
		r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, private.URL, code) })
		answer := NewSender(Options{Rules: loopback()}).Send(t.Context(), standard(r.URL))
		require.Equal(t, code, answer.Status)
		require.Contains(t, answer.Error, "redirects are not followed")
	}
	require.Zero(t, led.Load())
}

func TestSender_looksAtTheAddressItDials(t *testing.T) {
	var reached atomic.Int64
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	port, err := url.Parse(r.URL)
	require.NoError(t, err)
	var asked atomic.Int64
	sender := NewSender(Options{
		// A name that is public when it is looked at, and leads here when dialled.
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			asked.Add(1)
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("169.254.169.254")}, nil
		},
		Rules: Rules{AllowHTTP: true},
	})
	answer := sender.Send(t.Context(), standard("http://rebind.example:"+port.Port()+"/"))
	require.Zero(t, answer.Status)
	require.Equal(t, "Only public addresses are reached, and it resolves to none.", answer.Error)
	require.NotContains(t, answer.Error, "127.0.0.1")
	require.Equal(t, int64(1), asked.Load(), "the name is looked up once, and what it gave is dialled")
	require.Zero(t, reached.Load())
}

func TestSender_looksAtTheRulesAnew(t *testing.T) {
	r := newReceiver(t, status(http.StatusOK))
	answer := NewSender(Options{}).Send(t.Context(), standard(r.URL))
	require.Zero(t, answer.Status)
	require.Contains(t, answer.Error, "not allowed any more")
	require.Empty(t, r.requests)
}

func TestSender_doesNotWaitForSlowReceivers(t *testing.T) {
	over := make(chan struct{})
	for name, slow := range map[string]http.HandlerFunc{
		"head": func(http.ResponseWriter, *http.Request) { <-over },
		"body": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			<-over
		},
	} {
		r := newReceiver(t, slow)
		answer := NewSender(Options{Rules: loopback(), Timeout: 100 * time.Millisecond}).Send(t.Context(), standard(r.URL))
		require.NotEmpty(t, answer.Error, name)
		require.Less(t, answer.Duration, time.Minute, name)
		require.GreaterOrEqual(t, answer.Duration, 100*time.Millisecond, name)
	}
	close(over)
}

func TestSender_keepsLittleOfAHugeAnswer(t *testing.T) {
	var written atomic.Int64
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte("x\x00\xff"), 10000)
		for range 10000 {
			n, err := w.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	answer := NewSender(Options{Rules: loopback()}).Send(t.Context(), standard(r.URL))
	require.Empty(t, answer.Error)
	require.LessOrEqual(t, len([]rune(answer.Body)), maxAnswerBytes)
	require.NotContains(t, answer.Body, "\x00")
	r.Close()
	require.Less(t, written.Load(), int64(100<<20))

	head := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) })
	require.Zero(t, NewSender(Options{Rules: loopback()}).Send(t.Context(), standard(head.URL)).Status)
}

func TestSender_wantsAValidCertificate(t *testing.T) {
	r := httptest.NewTLSServer(status(http.StatusOK))
	t.Cleanup(r.Close)
	r.Config.ErrorLog = nil
	answer := NewSender(Options{Rules: loopback()}).Send(t.Context(), standard(r.URL))
	require.Zero(t, answer.Status)
	require.Equal(t, "Its certificate is not valid for it.", answer.Error)
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	require.Empty(t, NewSender(Options{Rules: loopback(), RootCAs: pool}).Send(t.Context(), standard(r.URL)).Error)
}

func TestSender_isToldWhenToComeAgain(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	require.Equal(t, 2*time.Minute, NewSender(Options{Rules: loopback()}).Send(t.Context(), standard(r.URL)).RetryAfter)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "60": time.Minute, "-5": 0, "soon": 0, "9999999999999": 0, now.Add(time.Hour).Format(http.TimeFormat): time.Hour, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, retryAfter(value, now), value)
	}
}

func TestVault_opensForTheWebhookItSealedFor(t *testing.T) {
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	vault := NewVault(key)
	c := Credentials{URL: "https://example.com/", Secret: NewSecret(), Token: "token"}
	sealed, err := vault.Seal("whk_1", c)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "example.com")
	got, err := vault.Open(models.Webhook{ID: "whk_1", Sealed: sealed})
	require.NoError(t, err)
	require.Equal(t, c, got)
	_, err = vault.Open(models.Webhook{ID: "whk_2", Sealed: sealed})
	require.Error(t, err)
}
