package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

// Time limits, so that a store that does not work is noticed in seconds: callers
// retry by their own, longer policies.
const (
	// attempts counts the first try; waits between them are at most a second.
	attempts      = 3
	dialTimeout   = 3 * time.Second
	tlsTimeout    = 5 * time.Second
	pingTimeout   = 4 * time.Second
	answerTimeout = 10 * time.Second
	// completeTimeout is longer because some services copy the parts together first.
	completeTimeout = 30 * time.Second
	// stallTimeout ends a connection on which no byte moved for so long.
	stallTimeout = 30 * time.Second
	// slowestUpload is the rate, in bytes a second, below which an upload is given up.
	slowestUpload = 256 << 10

	// idleConnections covers what blob.Missing and a release upload have in flight.
	idleConnections = 64
)

func uploadTimeout(size int) time.Duration {
	return answerTimeout + time.Duration(size/slowestUpload)*time.Second
}

// newTransport speaks HTTP/1.1 only (setting DialContext sees to that): on one
// shared HTTP/2 connection a stalled object would hide behind the others.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return stallGuard{Conn: conn, limit: stallTimeout}, nil
		},
		TLSHandshakeTimeout: tlsTimeout,
		MaxIdleConns:        idleConnections,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     stallTimeout,
		// Objects come as they are stored, also those that are gzip files.
		DisableCompression: true,
	}
}

// stallGuard moves the deadline of both directions with every read and write: a
// reader that waits while an upload still runs is not stalled.
type stallGuard struct {
	net.Conn
	limit time.Duration
}

func (c stallGuard) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stallGuard) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// open begins a GET. The answer must begin within answerTimeout; the body then
// takes as long as it moves.
func (s *Store) open(ctx context.Context, name, byteRange string) (io.ReadCloser, error) {
	limited, cancel := context.WithCancel(ctx)
	answered := time.AfterFunc(answerTimeout, cancel)

	opts := minio.GetObjectOptions{}
	if byteRange != "" {
		opts.Set("Range", byteRange)
	}
	r, _, _, err := s.client.GetObject(limited, s.bucket, name, opts)
	if !answered.Stop() && err == nil {
		r.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &body{ctx: ctx, r: r, cancel: cancel}, nil
}

// body is an open object. Read's errors are already those of the contract.
type body struct {
	ctx    context.Context
	r      io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fault(b.ctx, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.cancel()
	return b.r.Close()
}

// rangeHeader is the Range header for length bytes from offset, "" for all of it
// (RFC 9110, section 14.2).
func rangeHeader(offset, length int64) string {
	switch {
	case length >= 0 && length <= math.MaxInt64-offset:
		return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	case offset > 0:
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return ""
}
