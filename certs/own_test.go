package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/certs"
	"github.com/slipwayhq/slipway/certs/pebbletest"
	"github.com/slipwayhq/slipway/models"
)

// writePair writes a certificate for names that vouches for itself.
func writePair(t testing.TB, certFile, keyFile string, serial int64, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// served is the certificate that a host is served with, whoever vouches for it.
func served(t testing.TB, addr, name string) *x509.Certificate {
	t.Helper()
	connection, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // which one is the question
	require.NoError(t, err, name)
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0]
}

func TestWildcardFiles_serveTheDomainAndAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, certFile, keyFile, 1, "apps.test", "*.apps.test")
	d := &domains{}
	o := options(t, openStore(t, database(t)), d, nil)
	o.CertFile, o.KeyFile, o.CheckEvery = certFile, keyFile, 20*time.Millisecond
	l := listen(t)
	x := serve(t, o, l, nil, d)
	addr := l.Addr().String()
	// Without a name, and with an address for one, the default is served.
	for _, name := range []string{"apps.test", "blog.apps.test", "0123abcd--blog.apps.test", "Dispatcher.Apps.Test", "", "127.0.0.1"} {
		require.EqualValues(t, 1, served(t, addr, name).SerialNumber.Int64(), name)
	}
	requireRefused(t, addr, "a.b.apps.test")
	require.Zero(t, d.asked.Load())

	writePair(t, certFile, keyFile, 2, "apps.test", "*.apps.test")
	eventually(t, "the new certificate", func() bool { return served(t, addr, "blog.apps.test").SerialNumber.Int64() == 2 })
	require.NoError(t, os.WriteFile(certFile, []byte("half a certific"), 0o600))
	eventually(t, "a word about the broken file", func() bool { return containsLog(x, "served on") })
	require.EqualValues(t, 2, served(t, addr, "blog.apps.test").SerialNumber.Int64())
	writePair(t, certFile, keyFile, 3, "apps.test")
	eventually(t, "the repaired certificate", func() bool { return served(t, addr, "apps.test").SerialNumber.Int64() == 3 })
	eventually(t, "a warning", func() bool { return containsLog(x, "does not cover worker.apps.test") })

	o.CertFile = filepath.Join(dir, "missing.pem")
	_, err := certs.New(o)
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
}

func containsLog(x *running, text string) bool { return strings.Contains(x.log.String(), text) }

func TestWithoutAWildcardCertificate_theDomainIsRefusedCleanly(t *testing.T) {
	l := listen(t)
	d := &domains{}
	serve(t, options(t, openStore(t, database(t)), d, nil), l, nil, d)
	for _, name := range []string{"apps.test", "blog.apps.test"} {
		requireRefused(t, l.Addr().String(), name)
	}
	_, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // refused anyway
	require.ErrorContains(t, err, "unrecognized name")
}

// zone is a name server for one zone that takes signed updates.
type zone struct {
	addr    string
	mu      sync.Mutex
	records []dns.RR
	updates int
}

const (
	zoneName, zoneKey = "apps.test.", "update-key."
	zoneSecret        = "c2VjcmV0IG9mIHRoZSB0ZXN0IHpvbmUgMTIzNDU2Nzg="
)

func startZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{}
	var packets net.PacketConn
	var stream net.Listener
	eventually(t, "a port that is free for both", func() bool {
		var err error
		packets, err = net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		if stream, err = net.Listen("tcp", packets.LocalAddr().String()); err != nil {
			_ = packets.Close()
		}
		return err == nil
	})
	z.addr = packets.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: stream}} {
		server.Handler, server.TsigSecret = dns.HandlerFunc(z.answer), map[string]string{zoneKey: zoneSecret}
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.ActivateAndServe()
		}()
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-ended
		})
	}
	return z
}

func (z *zone) answer(w dns.ResponseWriter, r *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	switch {
	case r.Opcode == dns.OpcodeUpdate && (r.IsTsig() == nil || w.TsigStatus() != nil || r.Question[0].Name != zoneName):
		m.Rcode = dns.RcodeRefused
	case r.Opcode == dns.OpcodeUpdate:
		z.updates++
		for _, rr := range r.Ns {
			if rr.Header().Class == dns.ClassNONE {
				rr.Header().Class, rr.Header().Ttl = dns.ClassINET, 60
				z.records = slices.DeleteFunc(z.records, func(have dns.RR) bool { return dns.IsDuplicate(have, rr) })
			} else {
				z.records = append(z.records, rr)
			}
		}
		m.SetTsig(zoneKey, dns.HmacSHA256, 300, time.Now().Unix())
	default:
		for _, rr := range z.records {
			if rr.Header().Name == r.Question[0].Name && rr.Header().Rrtype == r.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	_ = w.WriteMsg(m)
}

func TestDNS01_getsTheWildcardCertificateBySignedUpdates(t *testing.T) {
	z := startZone(t)
	authority := pebbletest.Start(t, pebbletest.Options{Resolver: z.addr})
	d := &domains{}
	o := options(t, openStore(t, database(t)), d, authority)
	o.DNS01 = certs.DNS01{Server: z.addr, KeyName: "hmac-sha256:update-key", KeySecret: zoneSecret}
	l := listen(t)
	x := serve(t, o, l, nil, d)
	roots := authority.Roots(t)
	for _, name := range []string{"blog.apps.test", "apps.test"} {
		_, err := handshake(l.Addr().String(), name, roots)
		require.NoError(t, err, name)
	}
	require.Equal(t, []string{"*.apps.test"}, served(t, l.Addr().String(), "").DNSNames)
	require.Equal(t, 2, authority.Orders())
	eventually(t, "challenges taken out again", func() bool {
		z.mu.Lock()
		defer z.mu.Unlock()
		return len(z.records) == 0 && z.updates == 4
	})
	require.NotContains(t, x.log.String(), zoneSecret)

	for _, wrong := range []certs.DNS01{
		{Server: z.addr, KeyName: "k", KeySecret: "not base64!"}, {Server: z.addr, KeySecret: zoneSecret},
		{Server: z.addr, Zone: "elsewhere.test"}, {Server: z.addr, KeyName: "hmac-md5:k", KeySecret: zoneSecret},
	} {
		o.DNS01 = wrong
		_, err := certs.New(o)
		require.Equal(t, models.CodeValidation, models.CodeOf(err))
	}
}

func TestDNS01_refusedUpdatesAreLoggedAndNotRepeatedAtOnce(t *testing.T) {
	z := startZone(t)
	authority := pebbletest.Start(t, pebbletest.Options{Resolver: z.addr})
	d := &domains{}
	o := options(t, openStore(t, database(t)), d, authority)
	o.DNS01 = certs.DNS01{Server: z.addr}
	l := listen(t)
	x := serve(t, o, l, nil, d)
	for range 3 {
		_, err := handshake(l.Addr().String(), "blog.apps.test", nil)
		require.Error(t, err)
	}
	eventually(t, "a word about the refusal", func() bool { return containsLog(x, "REFUSED") })
	require.LessOrEqual(t, authority.Orders(), 6, "one attempt for each of the two names")
}
