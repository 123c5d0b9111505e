package certs

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

// Rows keep sealed values and leases for every dispatcher. models.Store does.
// CodeNotFound says that something is not there, any other error that the
// answer is not known.
type Rows interface {
	CertificateValue(ctx context.Context, key string) ([]byte, error)
	PutCertificateValue(ctx context.Context, key string, sealed []byte, size int64) error
	DeleteCertificateValues(ctx context.Context, key string) error
	CertificateFiles(ctx context.Context, key string) ([]models.CertificateFile, error)
	CertificateFile(ctx context.Context, key string) (models.CertificateFile, error)
	CertificatesBelow(ctx context.Context, key string) (bool, error)
	TakeCertificateLease(ctx context.Context, name, owner string, d time.Duration) (bool, error)
	RenewCertificateLease(ctx context.Context, name, owner string, d time.Duration) (bool, error)
	GiveCertificateLeaseBack(ctx context.Context, name, owner string) error
}

// storage is certmagic.Storage in the database, with what this machine serves
// also on its disk. Everything is sealed: private keys and account keys stand
// under the same keys as public things, and none of it is worth telling apart.
type storage struct {
	*leases
	rows Rows
	key  *seal.Key
	// local is what Load falls back to; nil keeps nothing.
	local *localCopy
	log   logrus.FieldLogger
}

// The time a query may take. A database that hangs must not hang a handshake
// for which there is a local copy.
const (
	readPatience  = 3 * time.Second
	writePatience = 10 * time.Second
)

// SealContext is what the value under a key of certificate storage is sealed for,
// here and in the database alike.
func SealContext(key string) string { return "certificate " + key }

// Store implements certmagic.Storage: the database first, so that nobody serves
// what the others cannot see.
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	sealed := s.key.Seal(value, SealContext(key))
	bounded, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	if err := s.rows.PutCertificateValue(bounded, key, sealed, int64(len(value))); err != nil {
		return err
	}
	s.keepLocally(key, sealed)
	return nil
}

// Load implements certmagic.Storage: the database's answer when it has one,
// else the local copy.
func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	if s.local != nil && s.outage.recent() {
		if value, err := s.loadLocal(key); err == nil {
			return value, nil
		}
	}
	bounded, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	sealed, err := s.rows.CertificateValue(bounded, key)
	switch {
	case err == nil:
		s.keepLocally(key, sealed)
		return s.key.Open(sealed, SealContext(key))
	case models.CodeOf(err) == models.CodeNotFound:
		s.forgetLocally(key)
		return nil, fs.ErrNotExist
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	s.outage.note()
	if s.local == nil {
		return nil, err
	}
	value, localErr := s.loadLocal(key)
	if localErr != nil {
		return nil, err
	}
	return value, nil
}

// loadLocal reads the local copy alone.
func (s *storage) loadLocal(key string) ([]byte, error) {
	if s.local == nil {
		return nil, fs.ErrNotExist
	}
	sealed, err := s.local.load(key)
	if err != nil {
		return nil, err
	}
	return s.key.Open(sealed, SealContext(key))
}

// remote is the same storage without the local copy, for looking through what all
// dispatchers have.
func (s *storage) remote() *storage {
	return &storage{leases: s.leases, rows: s.rows, key: s.key, log: s.log}
}

func (s *storage) keepLocally(key string, sealed []byte) {
	if s.local == nil || !servable(key) {
		return
	}
	if err := s.local.store(key, sealed); err != nil {
		s.log.WithError(err).Warn("a certificate could not be kept on this machine's disk; it is not served from here while the database is away")
	}
}

func (s *storage) forgetLocally(key string) {
	if s.local == nil || !servable(key) {
		return
	}
	if err := s.local.remove(key); err != nil {
		s.log.WithError(err).Warn("a certificate's copy on this machine's disk could not be removed")
	}
}

// servable says whether handshakes need what is under a key: certificates,
// their keys and OCSP answers, not accounts and challenges.
func servable(key string) bool {
	return strings.HasPrefix(key, "certificates/") || strings.HasPrefix(key, "ocsp/")
}

// Delete implements certmagic.Storage.
func (s *storage) Delete(ctx context.Context, key string) error {
	bounded, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	s.forgetLocally(key)
	return s.rows.DeleteCertificateValues(bounded, key)
}

// Exists implements certmagic.Storage.
func (s *storage) Exists(ctx context.Context, key string) bool {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	if _, err := s.rows.CertificateFile(ctx, key); err == nil {
		return true
	}
	any, err := s.rows.CertificatesBelow(ctx, key)
	return err == nil && any
}

// List implements certmagic.Storage: every key below when recursive, else the
// next components, folders once. fs.ErrNotExist when there is nothing below.
func (s *storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	path = strings.Trim(path, "/")
	files, err := s.rows.CertificateFiles(ctx, path)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fs.ErrNotExist
	}
	prefix := ""
	if path != "" {
		prefix = path + "/"
	}
	var keys []string
	for _, file := range files {
		key := file.Key
		if !recursive {
			name, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
			key = prefix + name
		}
		// What has one prefix stands together, as they are in order.
		if len(keys) == 0 || keys[len(keys)-1] != key {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Stat implements certmagic.Storage.
func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	file, err := s.rows.CertificateFile(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: file.Modified, Size: file.Size, IsTerminal: true}, nil
	}
	if models.CodeOf(err) != models.CodeNotFound {
		return certmagic.KeyInfo{}, err
	}
	any, err := s.rows.CertificatesBelow(ctx, key)
	if err == nil && !any {
		err = fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: key}, err
}

// String keeps the installation's key out of logs that print the storage.
func (s *storage) String() string { return "PostgreSQL" }

var (
	_ certmagic.Storage          = (*storage)(nil)
	_ certmagic.TryLocker        = (*storage)(nil)
	_ certmagic.LockLeaseRenewer = (*storage)(nil)
)

// isNotExist says that storage answered, and has nothing.
func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
