package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

// certFiles are a certificate and its key that somebody else renews.
type certFiles struct {
	certFile, keyFile string
	domain            string
	log               logrus.FieldLogger

	certificate atomic.Pointer[tls.Certificate]
	// seen is what the files looked like when they were last read; only reload,
	// which one goroutine calls, changes it.
	seen [2]fileState
}

// fileState changes whenever a file does.
type fileState struct {
	size     int64
	modified time.Time
}

// openCertFiles reads the files; CodeValidation when they cannot be used.
func openCertFiles(certFile, keyFile, domain string, log logrus.FieldLogger) (*certFiles, error) {
	f := &certFiles{certFile: certFile, keyFile: keyFile, domain: domain, log: log}
	f.seen = f.state()
	certificate, err := f.read()
	if err != nil {
		return nil, models.Wrap(models.CodeValidation, err, "DISPATCH_TLS_CERT_FILE and DISPATCH_TLS_KEY_FILE cannot be used")
	}
	f.certificate.Store(certificate)
	f.warn(certificate.Leaf)
	return f, nil
}

func (f *certFiles) current() *tls.Certificate { return f.certificate.Load() }

// reload reads the files again if they changed. A pair that cannot be used, such
// as one of which only half is written yet, leaves the old one in place.
func (f *certFiles) reload() {
	state := f.state()
	if state == f.seen {
		return
	}
	certificate, err := f.read()
	f.seen = state
	if err != nil {
		f.log.WithError(err).Error("the changed files of the wildcard certificate cannot be used; the certificate read before is served on")
		return
	}
	f.certificate.Store(certificate)
	f.log.WithField("expires", certificate.Leaf.NotAfter.UTC().Format(time.RFC3339)).Info("read the changed wildcard certificate")
	f.warn(certificate.Leaf)
}

func (f *certFiles) state() (state [2]fileState) {
	for i, name := range []string{f.certFile, f.keyFile} {
		if stat, err := os.Stat(name); err == nil {
			state[i] = fileState{stat.Size(), stat.ModTime()}
		}
	}
	return state
}

func (f *certFiles) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	return &pair, err
}

// warn says what clients will object to.
func (f *certFiles) warn(leaf *x509.Certificate) {
	for _, name := range []string{f.domain, "worker." + f.domain} {
		if leaf.VerifyHostname(name) != nil {
			f.log.WithField("covers", leaf.DNSNames).Warnf("the certificate in %s does not cover %s", f.certFile, name)
		}
	}
	if time.Now().After(leaf.NotAfter) {
		f.log.Warnf("the certificate in %s ran out at %s", f.certFile, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}
