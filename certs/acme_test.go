package certs_test

import (
	"io"
	"log"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	require.Contains(t, authority.Log(), "Attempting to validate w/ HTTP: http://shop.example")

	before := authority.Requests()
	for range 20 {
		again, err := handshake(tls.Addr().String(), "SHOP.example.", authority.Roots(t))
		require.NoError(t, err)
		require.Equal(t, certificate.SerialNumber, again.SerialNumber)
	}
	require.Equal(t, before, authority.Requests())
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
	for range 5 {
		requireRefused(t, tls.Addr().String(), "stranger.example")
	}
	require.Equal(t, 0, authority.Requests())
	require.EqualValues(t, 1, d.asked.Load(), "a no is remembered")

	request, err := http.NewRequest(http.MethodGet, "http://"+web.Addr().String()+"/.well-known/acme-challenge/x", nil)
	require.NoError(t, err)
	request.Host = "stranger.example"
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusPermanentRedirect, answer.StatusCode)
	require.EqualValues(t, 1, d.asked.Load())
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
	require.Contains(t, x.log.String(), "renewed a certificate")
}
