package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// partSize is the most that goes in one request, and so what a retry repeats.
	// S3 allows 10,000 parts of at least 5 MiB: objects up to 80 GiB.
	partSize = 8 << 20
	// partsInFlight bounds the memory of one Put: so many parts and the one being read.
	partsInFlight = 3
	firstBuffer   = 32 << 10

	// leftoverAge is when an unfinished upload counts as the leftover of a crash.
	leftoverAge  = 24 * time.Hour
	abortTimeout = 5 * time.Second
)

// Put reads up to partSize into memory. Content that ends there is verified before
// anything is sent and goes in one request, which S3 makes visible whole or not at
// all. Longer content is a multipart upload, hashed while its parts go out and
// completed only once length and digest were found right, aborted otherwise: parts
// are invisible until then. Nothing touches the local disk.
func (s *Store) Put(ctx context.Context, key blob.Key, size int64, r io.Reader) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	verified := blob.NewVerifier(ctx, key, size, r)
	first, err := readPart(verified, size)
	if errors.Is(err, io.EOF) {
		// Asking whether it exists costs as much as sending it again.
		limited, cancel := context.WithTimeout(ctx, uploadTimeout(len(first)))
		defer cancel()
		if err := s.putObject(limited, s.name(key), key.Digest, first); err != nil {
			return fault(ctx, err)
		}
		return nil
	}
	if err != nil {
		return err
	}

	// An object of another length than announced is damaged, or the announcement is
	// wrong: sending it anew mends the one and refuses the other.
	switch object, err := s.Stat(ctx, key); {
	case err == nil && (size < 0 || size == object.Size):
		return nil
	case err != nil && models.CodeOf(err) != models.CodeBlobNotFound:
		return err
	}
	return s.putParts(ctx, key, first, verified)
}

// putObject sends content in one request. The digest is part of the request's
// signature: the service refuses content that was damaged on the way.
func (s *Store) putObject(ctx context.Context, name, digest string, content []byte) error {
	_, err := s.client.PutObject(ctx, s.bucket, name, bytes.NewReader(content), int64(len(content)), "", digest,
		minio.PutObjectOptions{DisableContentSha256: true})
	return err
}

// putParts sends first and the rest of r as a multipart upload.
func (s *Store) putParts(ctx context.Context, key blob.Key, first []byte, r io.Reader) error {
	name := s.name(key)
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	upload, err := s.client.NewMultipartUpload(limited, s.bucket, name, minio.PutObjectOptions{})
	if err != nil {
		return fault(ctx, err)
	}
	parts, err := s.sendParts(ctx, name, upload, first, r)
	if err == nil {
		err = s.complete(ctx, key, upload, parts)
	}
	if err != nil {
		s.abort(ctx, name, upload)
	}
	return err
}

// sendParts returns the parts in order once r gave io.EOF, which means verified.
func (s *Store) sendParts(ctx context.Context, name, upload string, part []byte, r io.Reader) ([]minio.CompletePart, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(partsInFlight)
	var parts []*minio.CompletePart
	var readErr error
	for groupCtx.Err() == nil && len(part) > 0 {
		content, done := part, &minio.CompletePart{PartNumber: len(parts) + 1}
		parts = append(parts, done)
		group.Go(func() error {
			sent, err := s.sendPart(groupCtx, name, upload, done.PartNumber, content)
			if err != nil {
				return fault(ctx, err)
			}
			done.ETag = sent.ETag
			return nil
		})
		if readErr != nil {
			break // that was the last one
		}
		if part, readErr = readPart(r, -1); readErr != nil && !errors.Is(readErr, io.EOF) {
			break
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !errors.Is(readErr, io.EOF) {
		return nil, readErr
	}
	sent := make([]minio.CompletePart, len(parts))
	for i, part := range parts {
		sent[i] = *part
	}
	return sent, nil
}

func (s *Store) sendPart(ctx context.Context, name, upload string, number int, content []byte) (minio.ObjectPart, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout(len(content)))
	defer cancel()
	return s.client.PutObjectPart(ctx, s.bucket, name, upload, number, bytes.NewReader(content), int64(len(content)),
		minio.PutObjectPartOptions{Sha256Hex: blob.Digest(content), DisableContentSha256: true})
}

// complete makes the object visible. An answer that was lost makes the repeated
// request fail with NoSuchUpload, so it is the object that decides.
func (s *Store) complete(ctx context.Context, key blob.Key, upload string, parts []minio.CompletePart) error {
	limited, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	_, err := s.client.CompleteMultipartUpload(limited, s.bucket, s.name(key), upload, parts, minio.PutObjectOptions{})
	if err == nil {
		return nil
	}
	if isUploadGone(err) {
		if _, statErr := s.Stat(ctx, key); statErr == nil {
			return nil
		}
	}
	return fault(ctx, err)
}

// abort frees what an upload stored, also when ctx has ended. Its own failure is
// no news to the caller, who already has one: sweep takes what it leaves.
func (s *Store) abort(ctx context.Context, name, upload string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = s.client.AbortMultipartUpload(ctx, s.bucket, name, upload)
}

// sweep aborts uploads begun before the given time. It is best effort: services
// that do not list uploads, or credentials that may not, have rules of their own
// for this (a bucket's lifecycle), and nothing visible depends on it.
func (s *Store) sweep(ctx context.Context, before time.Time) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	listed, err := s.client.ListMultipartUploads(ctx, s.bucket, s.prefix, "", "", "", pageSize)
	if err != nil {
		return
	}
	for _, upload := range listed.Uploads {
		if upload.Initiated.Before(before) {
			s.abort(ctx, upload.Key, upload.UploadID)
		}
	}
}

// readPart reads until partSize bytes or an error, which is io.EOF at the verified
// end. It begins with a buffer for the expected bytes, -1 being unknown.
func readPart(r io.Reader, expected int64) ([]byte, error) {
	capacity := int64(firstBuffer)
	if expected >= 0 {
		capacity = min(expected+1, partSize) // one more, to see the end in one read
	}
	part := make([]byte, 0, capacity)
	for {
		if len(part) == cap(part) {
			part = slices.Grow(part, min(cap(part), partSize-len(part)))
		}
		n, err := r.Read(part[len(part):min(cap(part), partSize)])
		part = part[:len(part)+n]
		if err != nil || len(part) == partSize {
			return part, err
		}
	}
}
