// Package s3 keeps blobs in a bucket of an S3-compatible service (AWS S3, MinIO,
// Cloudflare R2, versitygw): the store of more than one host.
//
// Objects are named <prefix><scope>/<first two digits>/<digest>, the layout blob/fs
// has on disk, so that any tool which copies folders to buckets moves a store.
package s3

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	defaultRegion = "us-east-1"
	pageSize      = 1000
	// pingName holds what Ping writes; no scope can have this name.
	pingName = ".ping"
)

// Options configures a Store. In brackets the setting each usually comes from.
type Options struct {
	// Endpoint is host or host:port [S3_ENDPOINT]. An http:// or https:// in front
	// is allowed and overrides Secure.
	Endpoint string
	// Region is the bucket's region, default us-east-1; R2 wants auto [S3_REGION].
	Region string
	// Bucket is made when it does not exist and the credentials may [S3_BUCKET].
	Bucket string
	// AccessKey and SecretKey are the credentials [S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY].
	AccessKey string
	SecretKey string
	// Secure means TLS [S3_USE_SSL].
	Secure bool
	// PathStyle puts the bucket into the path instead of the host name, as most
	// services that are not AWS want it [S3_PATH_STYLE].
	PathStyle bool
	// Prefix goes before every object name, so that a bucket can be shared; a
	// missing '/' at its end is added [S3_PREFIX].
	Prefix string
}

// Store is a blob.Store in a bucket. Any number of processes may use one bucket.
type Store struct {
	client *minio.Core
	bucket string
	prefix string
}

var _ blob.Store = (*Store)(nil)

// New connects, makes the bucket when it is missing, proves that it can be written,
// and gives up multipart uploads that a crash left unfinished more than a day ago.
// Options that cannot work are CodeValidation; a service that does not answer or
// refuses is CodeStorage.
func New(ctx context.Context, opts Options) (*Store, error) {
	s, err := connect(opts)
	if err != nil {
		return nil, err
	}
	if err := s.ensureBucket(ctx, opts.Region); err != nil {
		return nil, err
	}
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	s.sweep(ctx, time.Now().Add(-leftoverAge))
	return s, nil
}

// Get opens the object.
func (s *Store) Get(ctx context.Context, key blob.Key) (io.ReadCloser, error) {
	return s.GetRange(ctx, key, 0, -1)
}

// GetRange opens a part of the object with one request.
func (s *Store) GetRange(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	if err := blob.ValidateRange(offset, length); err != nil {
		return nil, err
	}
	if length == 0 { // a range header cannot say "nothing"
		_, err := s.Stat(ctx, key)
		return io.NopCloser(strings.NewReader("")), err
	}
	body, err := s.open(ctx, s.name(key), rangeHeader(offset, length))
	switch {
	case isRangeBeyondEnd(err):
		return io.NopCloser(strings.NewReader("")), nil
	case isNotFound(err):
		return nil, blob.NotFound(key, err)
	case err != nil:
		return nil, fault(ctx, err)
	}
	return body, nil
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key blob.Key) (blob.Object, error) {
	if err := usable(ctx, key); err != nil {
		return blob.Object{}, err
	}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	stat, err := s.client.StatObject(limited, s.bucket, s.name(key), minio.StatObjectOptions{})
	if isNotFound(err) {
		return blob.Object{}, blob.NotFound(key, err)
	}
	if err != nil {
		return blob.Object{}, fault(ctx, err)
	}
	return blob.Object{Key: key, Size: stat.Size, ModTime: stat.LastModified}, nil
}

// List reads the bucket's listing, which S3 gives in name order, a page at a time.
func (s *Store) List(ctx context.Context, scope, after string, fn func(blob.Object) error) error {
	if err := blob.ValidateList(scope, after); err != nil {
		return err
	}
	startAfter := ""
	if after != "" {
		startAfter = s.name(blob.Key{Scope: scope, Digest: after})
	}
	return s.walk(ctx, scope, startAfter, func(key blob.Key, entry minio.ObjectInfo) error {
		if key.Digest == "" {
			return nil
		}
		return fn(blob.Object{Key: key, Size: entry.Size, ModTime: entry.LastModified})
	})
}

// Strangers reads the bucket's listing as List does.
func (s *Store) Strangers(ctx context.Context, scope string, fn func(name string) error) error {
	if err := blob.ValidateScope(scope); err != nil {
		return err
	}
	return s.walk(ctx, scope, "", func(key blob.Key, entry minio.ObjectInfo) error {
		if key.Digest != "" {
			return nil
		}
		return fn(strings.TrimPrefix(entry.Key, s.prefix))
	})
}

// walk calls fn for everything in the scope's folder after a name, with the zero
// key for what is not ours.
func (s *Store) walk(ctx context.Context, scope, startAfter string, fn func(blob.Key, minio.ObjectInfo) error) error {
	for {
		page, err := s.page(ctx, s.prefix+scope+"/", startAfter)
		if err != nil {
			return fault(ctx, err)
		}
		for _, entry := range page {
			key := blob.Key{Scope: scope, Digest: path.Base(entry.Key)}
			if key.Validate() != nil || s.name(key) != entry.Key {
				key = blob.Key{}
			}
			if err := fn(key, entry); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		startAfter = page[len(page)-1].Key
	}
}

// Delete removes the object. In a bucket with versions, older ones stay.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := s.client.RemoveObject(limited, s.bucket, s.name(key), minio.RemoveObjectOptions{})
	if err == nil || isNotFound(err) {
		return nil
	}
	return fault(ctx, err)
}

// Ping writes a tiny object and reads it back.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	const content = "ping"
	limited, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	name := s.prefix + pingName
	if err := s.putObject(limited, name, blob.Digest([]byte(content)), []byte(content)); err != nil {
		return fault(ctx, err)
	}
	body, err := s.open(limited, name, "")
	if err != nil {
		return fault(ctx, err)
	}
	defer body.Close()
	got, err := io.ReadAll(io.LimitReader(body, int64(len(content)+1)))
	if err != nil || string(got) != content {
		return fault(ctx, fmt.Errorf("read back %q: %w", got, err))
	}
	return nil
}

// page lists up to pageSize objects after a name. Pages are asked for one by one,
// so that each request has its time limit and the caller's work between them none.
func (s *Store) page(ctx context.Context, folder, after string) ([]minio.ObjectInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var page []minio.ObjectInfo
	listing := s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix: folder, StartAfter: after, Recursive: true, MaxKeys: pageSize,
	})
	for entry := range listing {
		if entry.Err != nil {
			return nil, entry.Err
		}
		if page = append(page, entry); len(page) == pageSize {
			break
		}
	}
	return page, ctx.Err()
}

func (s *Store) name(key blob.Key) string {
	return s.prefix + key.Scope + "/" + key.Digest[:2] + "/" + key.Digest
}

func (s *Store) ensureBucket(ctx context.Context, region string) error {
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	exists, err := s.client.BucketExists(limited, s.bucket)
	if isRefused(err) {
		return nil // credentials for objects alone may not ask; Ping tells
	}
	if err != nil {
		return fault(ctx, err)
	}
	if exists {
		return nil
	}
	err = s.client.MakeBucket(limited, s.bucket, minio.MakeBucketOptions{Region: region})
	if err != nil && !isAlreadyMade(err) {
		return fault(ctx, err)
	}
	return nil
}

// connect makes the client without any request.
func connect(opts Options) (*Store, error) {
	host, secure, err := splitEndpoint(opts.Endpoint, opts.Secure)
	if err != nil {
		return nil, err
	}
	for setting, value := range map[string]string{"S3_BUCKET": opts.Bucket, "S3_ACCESS_KEY_ID": opts.AccessKey, "S3_SECRET_ACCESS_KEY": opts.SecretKey} {
		if value == "" {
			return nil, models.Errorf(models.CodeValidation, "blob storage on S3 needs %s", setting)
		}
	}
	if err := s3utils.CheckValidBucketName(opts.Bucket); err != nil {
		return nil, models.Wrap(models.CodeValidation, err, "S3_BUCKET is not a bucket name S3 allows.")
	}
	prefix := strings.Trim(opts.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	lookup := minio.BucketLookupAuto
	if opts.PathStyle {
		lookup = minio.BucketLookupPath
	}
	region := opts.Region
	if region == "" {
		region = defaultRegion
	}
	client, err := minio.NewCore(host, &minio.Options{
		Creds:        credentials.NewStaticV4(opts.AccessKey, opts.SecretKey, ""),
		Secure:       secure,
		Region:       region,
		BucketLookup: lookup,
		Transport:    newTransport(),
		MaxRetries:   attempts,
	})
	if err != nil {
		return nil, models.Wrap(models.CodeValidation, err, "Blob storage on S3 cannot be set up. Check S3_ENDPOINT: a host or host:port.")
	}
	return &Store{client: client, bucket: opts.Bucket, prefix: prefix}, nil
}

func splitEndpoint(endpoint string, secure bool) (host string, tls bool, err error) {
	if !strings.Contains(endpoint, "://") {
		if endpoint == "" {
			return "", false, models.Errorf(models.CodeValidation, "blob storage on S3 needs S3_ENDPOINT")
		}
		return endpoint, secure, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", false, models.Errorf(models.CodeValidation, "S3_ENDPOINT must be a host, host:port, or http(s):// and one of these, without the bucket")
	}
	return u.Host, u.Scheme == "https", nil
}

func usable(ctx context.Context, key blob.Key) error {
	if err := key.Validate(); err != nil {
		return err
	}
	return ctx.Err()
}
