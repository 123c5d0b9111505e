package certs_test

import (
	"io"
	"log"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/certs"
	"github.com/slipwayhq/slipway/certs/pebbletest"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

func TestCustomDomain_getsACertificateByHTTP01(t *testing.T) {
	tls, web := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web)})
	d := &domains{active: []string{"shop.example"}}
	serve(t, options(t, openStore(t, database(t)), d, authority), tls, web, d)
	// The authority may be asked to look at TLS first, where nobody is, and then
	// over HTTP.
	certificate, err := handshake(tls.Addr().String(), "shop.example", authority.Roots(t))
	require.NoError(t, err)
	require.Equal(t, []string{"shop.example"}, certificate.DNSNames)
	eventually(t, "a look over HTTP", func() bool {
		return strings.Contains(authority.Log(), "Attempting to validate w/ HTTP: http://shop.example")
	})

	before := settledRequests(t, authority)
	for range 20 {
		again, err := handshake(tls.Addr().String(), "SHOP.example.", authority.Roots(t))
		require.NoError(t, err)
		require.Equal(t, certificate.SerialNumber, again.SerialNumber)
	}
	require.Equal(t, before, settledRequests(t, authority))
}

func TestCustomDomain_getsACertificateByTLSALPN01(t *testing.T) {
	tls := listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{TLSPort: port(tls)})
	d := &domains{active: []string{"shop.example"}}
	serve(t, options(t, openStore(t, database(t)), d, authority), tls, nil, d)
	// Nobody listens for HTTP-01, should the authority be asked for that first.
	certificate, err := handshake(tls.Addr().String(), "shop.example", authority.Roots(t))
	require.NoError(t, err)
	require.Equal(t, []string{"shop.example"}, certificate.DNSNames)
}

func TestDeniedName_makesNoACMERequestAndReadsNoCertificate(t *testing.T) {
	tls, web := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web)})
	d := &domains{}
	serve(t, options(t, openStore(t, database(t)), d, authority), tls, web, d)
	began := time.Now()
	for range 5 {
		requireRefused(t, tls.Addr().String(), "stranger.example")
	}
	asked := d.asked.Load()
	require.LessOrEqual(t, asked, int64(1+time.Since(began)/certs.DeniedFor), "a no is remembered")
	require.Equal(t, 0, settledRequests(t, authority))

	request, err := http.NewRequest(http.MethodGet, "http://"+web.Addr().String()+"/.well-known/acme-challenge/x", nil)
	require.NoError(t, err)
	request.Host = "stranger.example"
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusPermanentRedirect, answer.StatusCode)
	require.Equal(t, asked, d.asked.Load())
}

func TestTwoDispatchers_makeOneOrderAndAnswerEachOthersChallenges(t *testing.T) {
	url := database(t)
	tls1, tls2, web2 := listen(t), listen(t), listen(t)
	// Only the second dispatcher can be reached by the authority.
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web2), TLSPort: port(tls2)})
	d := &domains{active: []string{"shop.example", "cafe.example"}}
	serve(t, options(t, openStore(t, url), d, authority), tls1, nil, d)
	startProcess(t, process{URL: url, Directory: authority.Directory, CAFile: authority.CAFile, LocalDir: t.TempDir(), Active: d.active}, tls2, web2)

	_, err := handshake(tls1.Addr().String(), "shop.example", authority.Roots(t))
	require.NoError(t, err, "the first got it although only the second is asked")
	require.Equal(t, 1, authority.Orders())

	var group sync.WaitGroup
	serials := make([]string, 10)
	roots := authority.Roots(t)
	for i := range serials {
		group.Go(func() {
			addr := tls1.Addr().String()
			if i%2 == 1 {
				addr = tls2.Addr().String()
			}
			certificate, err := handshake(addr, "cafe.example", roots)
			if err != nil {
				t.Error(err)
				return
			}
			serials[i] = certificate.SerialNumber.String()
		})
	}
	group.Wait()
	for _, serial := range serials {
		require.Equal(t, serials[0], serial)
	}
	require.Equal(t, 2, authority.Orders())
}

func TestRenewal_replacesTheCertificateWhileServing(t *testing.T) {
	tls, web := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web), TLSPort: port(tls), Validity: time.Hour})
	d := &domains{active: []string{"shop.example"}}
	o := options(t, openStore(t, database(t)), d, authority)
	o.RenewalWindow, o.CheckEvery = 0.9999, 100*time.Millisecond
	x := serve(t, o, tls, web, d)
	roots := authority.Roots(t)
	first, err := handshake(tls.Addr().String(), "shop.example", roots)
	require.NoError(t, err)
	eventually(t, "another certificate", func() bool {
		now, err := handshake(tls.Addr().String(), "shop.example", roots)
		require.NoError(t, err, "the old one serves until the new is there")
		return now.SerialNumber.Cmp(first.SerialNumber) != 0
	})
	eventually(t, "a word about it", func() bool { return containsLog(x, "serving a renewed certificate") })
}

func TestOCSP_aResponderThatNeverAnswersHoldsUpNobody(t *testing.T) {
	blackHole := listen(t) // takes connections and says nothing
	tls, web := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web), TLSPort: port(tls), OCSPURL: "http://" + blackHole.Addr().String(), Validity: 30 * 24 * time.Hour})
	d := &domains{active: []string{"shop.example"}}
	o := options(t, openStore(t, database(t)), d, authority)
	o.RenewalWindow, o.CheckEvery = 0.9999999, 50*time.Millisecond
	x := serve(t, o, tls, web, d)
	roots := authority.Roots(t)
	// Who waited for the responder would wait until the end of the test.
	for range 10 {
		certificate, err := handshake(tls.Addr().String(), "shop.example", roots)
		require.NoError(t, err)
		require.NotEmpty(t, certificate.OCSPServer)
	}
	connection, err := blackHole.Accept()
	require.NoError(t, err, "the responder is asked in the background")
	began := time.Now()
	x.stop()
	require.Less(t, time.Since(began), 20*time.Second, "nor does the end wait for it")
	require.NoError(t, connection.Close())
	require.NoError(t, blackHole.Close())
}

func TestTornCertificate_isReplaced(t *testing.T) {
	tls, web := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web), TLSPort: port(tls)})
	d := &domains{active: []string{"shop.example", "cafe.example"}}
	o := options(t, openStore(t, database(t)), d, authority)
	first := serve(t, o, tls, web, d)
	roots := authority.Roots(t)
	for _, host := range d.active {
		_, err := handshake(tls.Addr().String(), host, roots)
		require.NoError(t, err)
	}
	// A process that is killed between two writes leaves a key that does not fit.
	storage := first.Storage()
	keys, err := storage.List(t.Context(), "certificates", true)
	require.NoError(t, err)
	var shop, cafe string
	for _, key := range keys {
		switch filepath.Base(key) {
		case "shop.example.key":
			shop = key
		case "cafe.example.key":
			cafe = key
		}
	}
	other, err := storage.Load(t.Context(), cafe)
	require.NoError(t, err)
	require.NoError(t, storage.Store(t.Context(), shop, other))

	tls2 := listen(t)
	serve(t, o, tls2, nil, d)
	certificate, err := handshake(tls2.Addr().String(), "shop.example", roots)
	require.NoError(t, err)
	require.Equal(t, []string{"shop.example"}, certificate.DNSNames)
}

func TestRemovedDomain_isNoLongerServedNorRenewed(t *testing.T) {
	tls, web := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web), TLSPort: port(tls), Validity: time.Hour})
	d := &domains{active: []string{"shop.example"}}
	o := options(t, openStore(t, database(t)), d, authority)
	// Due all the time.
	o.RenewalWindow, o.CheckEvery = 0.999999, 500*time.Millisecond
	serve(t, o, tls, web, d)
	_, err := handshake(tls.Addr().String(), "shop.example", authority.Roots(t))
	require.NoError(t, err)
	d.mu.Lock()
	d.active = nil
	d.mu.Unlock()
	eventually(t, "a refusal", func() bool {
		_, err := handshake(tls.Addr().String(), "shop.example", nil)
		return err != nil && strings.Contains(err.Error(), "unrecognized name")
	})
	// One that was under way then may still be ordered, but no other.
	eventually(t, "an end of the orders", func() bool {
		orders := authority.Orders()
		requireRefused(t, tls.Addr().String(), "shop.example")
		time.Sleep(3 * o.CheckEvery) // not a wait for something: one would be due meanwhile
		return authority.Orders() == orders
	})
}

func TestFailingIssuance_isNotRepeatedForEveryVisitor(t *testing.T) {
	// The authority reaches nobody: the domain's DNS points elsewhere.
	authority := pebbletest.Start(t, pebbletest.Options{})
	tls := listen(t)
	d := &domains{active: []string{"shop.example"}}
	x := serve(t, options(t, openStore(t, database(t)), d, authority), tls, nil, d)
	for range 5 {
		_, err := handshake(tls.Addr().String(), "shop.example", authority.Roots(t))
		require.ErrorContains(t, err, "internal error")
	}
	require.LessOrEqual(t, authority.Orders(), 3, "one attempt, in the ways there are")
	eventually(t, "a word about it", func() bool { return containsLog(x, "could not get a certificate") })
}
