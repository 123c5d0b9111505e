package models

import (
	"context"
	"strings"
	"time"
)

// CertificateFile is a value of certificate storage without its content.
type CertificateFile struct {
	Key string
	// Size is the length of the content before it was sealed.
	Size     int64
	Modified time.Time
}

// CertificateValue reads the sealed value under a key; CodeNotFound when there
// is none.
func (s *Store) CertificateValue(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := s.with(ctx).Raw("SELECT value FROM certificate_storage WHERE key = ?", key).Row().Scan(&value)
	return value, notFound(err, noCertificateValue())
}

func noCertificateValue() *Error { return Errorf(CodeNotFound, "Nothing is stored under that key.") }

// PutCertificateValue writes a sealed value over whatever was there.
func (s *Store) PutCertificateValue(ctx context.Context, key string, sealed []byte, size int64) error {
	return dbError(s.with(ctx).Exec(`
		INSERT INTO certificate_storage (key, value, size, modified) VALUES (?, ?, ?, clock_timestamp())
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, size = excluded.size, modified = excluded.modified`,
		key, sealed, size).Error)
}

// DeleteCertificateValues removes a key and every key below it. That there is
// none is no error.
func (s *Store) DeleteCertificateValues(ctx context.Context, key string) error {
	first, last := below(key)
	return dbError(s.with(ctx).Exec("DELETE FROM certificate_storage WHERE key = ? OR (key >= ? AND key < ?)", key, first, last).Error)
}

// CertificateFiles lists what is stored below a key, in order; with "", all.
func (s *Store) CertificateFiles(ctx context.Context, key string) ([]CertificateFile, error) {
	var files []CertificateFile
	query := s.with(ctx).Table("certificate_storage").Select("key, size, modified").Order("key")
	if key != "" {
		first, last := below(key)
		query = query.Where("key >= ? AND key < ?", first, last)
	}
	return files, dbError(query.Scan(&files).Error)
}

// CertificateFile says what is under exactly this key; CodeNotFound when
// nothing is.
func (s *Store) CertificateFile(ctx context.Context, key string) (CertificateFile, error) {
	var file CertificateFile
	err := s.with(ctx).Raw("SELECT key, size, modified FROM certificate_storage WHERE key = ?", key).
		Row().Scan(&file.Key, &file.Size, &file.Modified)
	return file, notFound(err, noCertificateValue())
}

// CertificatesBelow says whether anything is stored below a key.
func (s *Store) CertificatesBelow(ctx context.Context, key string) (bool, error) {
	first, last := below(key)
	var any bool
	err := s.with(ctx).Raw("SELECT EXISTS (SELECT 1 FROM certificate_storage WHERE key >= ? AND key < ?)", first, last).Row().Scan(&any)
	return any, dbError(err)
}

// below is the range of keys that have this one as their folder: "/" is
// followed by "0".
func below(key string) (first, last string) {
	key = strings.TrimSuffix(key, "/")
	return key + "/", key + "0"
}

// TakeCertificateLease gives the lease of a name to an owner for a time, or
// prolongs it when the owner has it. False means that another has it and it has
// not run out. The database's clock counts, not the callers'.
func (s *Store) TakeCertificateLease(ctx context.Context, name, owner string, d time.Duration) (bool, error) {
	taken := s.with(ctx).Exec(`
		INSERT INTO certificate_leases AS l (name, owner, expires)
		VALUES (?, ?, clock_timestamp() + make_interval(secs => ?))
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires
		WHERE l.owner = excluded.owner OR l.expires < clock_timestamp()`, name, owner, d.Seconds())
	return taken.RowsAffected == 1, dbError(taken.Error)
}

// RenewCertificateLease prolongs a lease. False means that it was lost: it ran
// out and another took it, or it was given back.
func (s *Store) RenewCertificateLease(ctx context.Context, name, owner string, d time.Duration) (bool, error) {
	renewed := s.with(ctx).Exec(`
		UPDATE certificate_leases SET expires = clock_timestamp() + make_interval(secs => ?)
		WHERE name = ? AND owner = ?`, d.Seconds(), name, owner)
	return renewed.RowsAffected == 1, dbError(renewed.Error)
}

// GiveCertificateLeaseBack ends a lease if the owner has it, and sweeps out
// those that ran out long ago under owners that were killed.
func (s *Store) GiveCertificateLeaseBack(ctx context.Context, name, owner string) error {
	return dbError(s.with(ctx).Exec(`
		DELETE FROM certificate_leases
		WHERE (name = ? AND owner = ?) OR expires < clock_timestamp() - interval '1 day'`, name, owner).Error)
}
