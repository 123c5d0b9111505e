package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

// noRows is a database that counts what it is asked and has nothing.
type noRows struct {
	Rows
	asked atomic.Int64
}

func (n *noRows) CertificateValue(context.Context, string) ([]byte, error) {
	n.asked.Add(1)
	return nil, models.Errorf(models.CodeNotFound, "nothing")
}

// hello is a client that asks for a name.
func hello(name, from string, protocols ...string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, SupportedProtos: protocols, Conn: addressed{from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}}
}

type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }
func (a addressed) LocalAddr() net.Addr  { return a.from }

func newGuarded(t testing.TB, asked *atomic.Int64) (*Certs, *noRows) {
	t.Helper()
	key, err := seal.New(strings.Repeat("ab", seal.SecretBytes))
	require.NoError(t, err)
	rows := &noRows{}
	c, err := New(Options{Domain: "apps.test", Rows: rows, Key: key, Log: logrus.New(), LocalDir: t.TempDir(),
		Allowed: func(context.Context, string) error {
			asked.Add(1)
			return models.Errorf(models.CodeDomainNotFound, "no")
		}})
	require.NoError(t, err)
	t.Cleanup(c.close)
	return c, rows
}

func TestUnknownNames_fiftyThousandCostNextToNothing(t *testing.T) {
	var asked atomic.Int64
	c, rows := newGuarded(t, &asked)
	began := time.Now()
	// One source is looked up for so often in a window, of which a slow machine needs
	// more than one.
	limit := func() int64 { return int64(strikeLimit * (1 + time.Since(began)/strikeWindow)) }
	for i := range 50_000 {
		protocol := "h2"
		if i%2 == 1 {
			protocol = "acme-tls/1"
		}
		certificate, err := c.certificate(t.Context(), hello(fmt.Sprintf("name-%d.example", i), "203.0.113.7:4000", protocol))
		require.NoError(t, err)
		require.Nil(t, certificate)
	}
	require.LessOrEqual(t, asked.Load(), limit())
	require.Zero(t, rows.asked.Load())

	// Others are not made to pay.
	_, err := c.certificate(t.Context(), hello("name.example", "203.0.113.8:4000"))
	require.NoError(t, err)
	require.LessOrEqual(t, asked.Load(), limit()+1)
	before := asked.Load()
	c.Forget("name.example")
	_, err = c.certificate(t.Context(), hello("name.example", "203.0.113.8:4000"))
	require.NoError(t, err)
	require.Equal(t, before+1, asked.Load(), "what was forgotten is asked again")
}

func TestServerName_takesOnlyWhatACertificateMayBeFor(t *testing.T) {
	for given, want := range map[string]string{
		"Shop.Example": "shop.example", "shop.example.": "shop.example", "": "", "127.0.0.1": "", "[::1]": "", "::1": "",
		"xn--bcher-kva.example": "xn--bcher-kva.example", "localhost": "localhost",
	} {
		name, ok := serverName(given)
		require.True(t, ok, given)
		require.Equal(t, want, name)
	}
	for _, bad := range []string{"shop", "a..b", ".a.b", "a_b.example", "a b.example", "-a.example", "a-.example", "a/b.example", "*.example",
		"bücher.example", "a\x00.example", "../x.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example", "a.example.."} {
		_, ok := serverName(bad)
		require.False(t, ok, bad)
	}
}

func FuzzServerName(f *testing.F) {
	for _, seed := range []string{"shop.example", "SHOP.example.", "[::1]", "xn--a.b", "a..b", "\x00", "1.2.3.4", "a.b.c.apps.test"} {
		f.Add(seed)
	}
	own := newOwnHosts("apps.test", []string{"console.test:443"})
	f.Fuzz(func(t *testing.T, given string) {
		name, ok := serverName(given)
		if !ok || name == "" {
			return
		}
		again, ok := serverName(name)
		if !ok || again != name {
			t.Fatalf("%q normalizes to %q, and that to %q", given, name, again)
		}
		if strings.ContainsAny(name, "/\\*:@ ") || strings.Contains(name, "..") || len(name) > 253 {
			t.Fatalf("%q passes as a name", name)
		}
		if certificate, kind := own.classify(name); kind == hostCustom && certificate != name {
			t.Fatalf("%q is served with the certificate of %q", name, certificate)
		}
	})
}

func TestSource_isOneCustomerOfAProvider(t *testing.T) {
	for from, want := range map[string]string{
		"203.0.113.7:1": "203.0.113.7", "[::ffff:203.0.113.7]:1": "203.0.113.7",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::", "[fe80::1%eth0]:1": "fe80::",
	} {
		require.Equal(t, want, source(hello("", from).Conn).String())
	}
}

func TestBridge_passesWarningsOnAndNothingThatCouldBeASecret(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	z := bridge(log)
	z.Info("not of interest")
	z.With(zap.String("identifier", "shop.example")).Error("failed", zap.Error(errors.New("boom")), zap.Strings("names", []string{"a", "b"}),
		zap.Any("account", struct{ Key string }{"hunter2"}), zap.ByteString("key", []byte("hunter2")), zap.Reflect("storage", &storage{}))
	require.NotContains(t, out.String(), "not of interest")
	require.NotContains(t, out.String(), "hunter2")
	for _, want := range []string{"level=warning", "certificates: failed", "identifier=shop.example", "error=boom", `names="[a b]"`} {
		require.Contains(t, out.String(), want)
	}
}

func TestLRU_dropsTheLeastRecentlyUsed(t *testing.T) {
	l := newLRU[string, int](2)
	l.put("a", 1)
	l.put("b", 2)
	_, _ = l.get("a")
	l.put("c", 3)
	_, ok := l.get("b")
	require.False(t, ok)
	l.update("a", func(v int) int { return v + 1 })
	value, _ := l.get("a")
	require.Equal(t, 2, value)
	l.remove("a")
	require.Equal(t, []string{"c"}, l.keys(func(int) bool { return true }))
}

func TestFailedHost_isReadFromStorageNowAndThenOnly(t *testing.T) {
	var asked atomic.Int64
	c, rows := newGuarded(t, &asked)
	c.decide.allowed = func(context.Context, string) error { asked.Add(1); return nil }
	c.failed.put("shop.example", failure{count: 1, until: time.Now().Add(time.Minute), lookAt: time.Now()})
	for range 1000 {
		certificate, err := c.certificate(t.Context(), hello("shop.example", "203.0.113.7:4000"))
		require.Error(t, err)
		require.Nil(t, certificate)
	}
	require.EqualValues(t, 1, asked.Load())
	require.EqualValues(t, 1, rows.asked.Load())
}
